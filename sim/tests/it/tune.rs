//! What a configuration comes to.

use std::sync::atomic::AtomicBool;

use villein_sim::tune::{Findings, Plan, json, measurements, read, text, tune};

fn plan(config: &str) -> Plan {
    let settings = read(config).expect("an agent's file");
    Plan { nodes: 6, loss: "5%".to_owned(), delay: "1ms..5ms".to_owned(), settings, seeds: 1 }
}

fn found(plan: &Plan) -> Findings {
    tune(plan, 2, &AtomicBool::new(false), &|_| {}).expect("the core takes it")
}

#[test]
fn what_a_configuration_comes_to_is_said_in_words_and_in_numbers() {
    let plan = plan(r#"{ "profile": "local", "encrypt_key": "AAECAwQFBgcICQoLDA0ODw==" }"#);
    let findings = found(&plan);
    assert_eq!(findings, found(&plan), "the same seeds come to the same");
    insta::assert_snapshot!(text(&plan, &findings));
    let numbers = json(&plan, &findings);
    assert_eq!(numbers["crash_first"]["samples"], findings.first_ms.len());
    assert_eq!(numbers["heal"]["median_ms"], findings.heal_ms[0]);
}

#[test]
fn a_profile_for_a_slower_network_notices_a_crash_later() {
    let [local, wan] =
        ["local", "wan"].map(|profile| found(&plan(&format!(r#"{{ "profile": "{profile}" }}"#))).first_ms);
    assert!(local.last() < wan.first(), "{local:?} and {wan:?}");
}

#[test]
fn what_was_not_measured_is_not_made_up() {
    let plan = plan("{}");
    let nothing = tune(&plan, 1, &AtomicBool::new(true), &|_| {}).expect("the core takes it");
    let text = text(&plan, &nothing);
    assert!(text.contains("no crashes measured") && text.contains("not measured"), "{text}");
    assert_eq!(measurements(&plan), 5);
    let mut wrong = plan;
    wrong.loss = "much".to_owned();
    let error = tune(&wrong, 1, &AtomicBool::new(false), &|_| {}).expect_err("no loss");
    assert!(error.problem.contains("\"much\" is no chance"), "{error}");
}
