//! Weather: a scenario that is drawn from a seed. First everything may go wrong; then every fault ends, and the cluster
//! must find together.
//!
//! It is written as the text of a scenario file, so that a seed that fails leaves a file that anybody can play, read and
//! shrink.

use std::fmt::Write as _;

use crate::draw::{Draw, Purpose};

/// When the faults begin, in milliseconds.
const BEGIN: u64 = 5_000;

/// How long a fault that ends by itself lasts at most, in milliseconds.
const LASTS: u64 = 21_000;

/// What a host's process is doing, as far as the steps so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Running,
    Down,
    /// Out of the cluster, and still there.
    Out,
    /// Its name runs on another host.
    Moved,
}

/// A host that runs nothing at first: a member moves there, or its name goes to another host.
const SPARE: &str = "z";

/// What the name server is asked for.
const SEEDS: &str = "seeds.example";

/// The timings of a profile, as far as the weather must know them.
#[derive(Clone, Copy)]
struct Profile {
    name: &'static str,
    /// How long a cluster may take to find together, in milliseconds: the longest suspicion, a leave that is taken back,
    /// a few rounds of reconnects and push/pulls.
    calm: u64,
}

const PROFILES: [Profile; 3] = [
    Profile { name: "lan", calm: 120_000 },
    Profile { name: "local", calm: 90_000 },
    Profile { name: "wan", calm: 600_000 },
];

/// The weather of one seed, as it is drawn.
struct Weather {
    draw: Draw,
    names: Vec<String>,
    doing: Vec<Doing>,
    /// Who was taken back after a leave: if that came before the leave was over, it was refused.
    taken_back: Vec<bool>,
    encrypted: bool,
    native: bool,
    /// Whether nodes have seeds that they try until somebody answers; else an operator joins them again in the end.
    seeded: bool,
    /// Whether a spare host is there and was not needed yet.
    spare: bool,
    /// Who runs in the calm, by their hosts' names.
    there: Vec<String>,
    /// Whether seeds are found by name.
    named: bool,
    /// Whether the name server has said something else for a while.
    misled: bool,
    /// Whether a process left and went: the others look for it no more when it comes back.
    gone: bool,
    steps: String,
}

/// The text of the scenario that `seed` draws.
pub fn scenario(seed: u64) -> String {
    let mut weather = Weather::new(seed);
    let (head, profile) = weather.head(seed);
    let length = 10_000 + weather.draw.below(50_000);
    let faults = 2 + weather.draw.below(11);
    let mut times: Vec<u64> = (0..faults).map(|_| BEGIN + weather.draw.below(length)).collect();
    times.sort_unstable();
    for at in times {
        weather.fault(at);
    }
    // The last fault that ends by itself may end after the last one begins.
    let end = BEGIN + length + LASTS;
    weather.calm(end, profile.calm);
    let until = end + profile.calm;
    let said = until - profile.calm / 2;
    weather.step(said, &format!("event = {{ nodes = [\"{}\"], name = \"calm\" }}", weather.there[0]));
    let mut text = head.replace("UNTIL", &seconds(until));
    text.push_str(&weather.steps);
    let _ = write!(
        text,
        "\n[[expect]]\nconverged = true\n\n[[expect]]\nfrom = \"{said}\"\nat = {there}\nevents = {{ kind = \"user\", name = \"calm\", count = 1 \
         }}\n\n[[expect]]\nfrom = \"{said}\"\nlogs = {{ contains = \"no acks received\", count = 0 }}\n\n[[expect]]\nfrom = \
         \"{said}\"\nlogs = {{ contains = \"but other probes failed\", count = 0 }}\n",
        said = seconds(said),
        there = list(&weather.there)
    );
    text
}

/// Milliseconds as a scenario writes them.
fn seconds(millis: u64) -> String {
    format!("{millis}ms")
}

impl Weather {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, Purpose::Weather);
        // Small clusters are where races show; a few larger ones show what needs many.
        let count = [3, 3, 4, 5, 5, 6, 7, 9][draw.index(8)];
        let names: Vec<String> = (0..count).map(|number| char::from(b'a' + number).to_string()).collect();
        let there = names.clone();
        let (doing, taken_back) = (vec![Doing::Running; names.len()], vec![false; names.len()]);
        Self {
            draw,
            names,
            doing,
            there,
            taken_back,
            encrypted: false,
            native: false,
            seeded: false,
            spare: false,
            named: false,
            misled: false,
            gone: false,
            steps: String::new(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.draw.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.draw.index(all.len())]
    }

    /// Everything before the steps.
    fn head(&mut self, seed: u64) -> (String, Profile) {
        let profile = match self.draw.below(20) {
            0..12 => PROFILES[0],
            12..19 => PROFILES[1],
            _ => PROFILES[2],
        };
        let wire = self.one_of(&["native", "native", "native", "auto", "auto", "memberlist", "mixed", "mixed"]);
        self.native = wire == "native";
        self.encrypted = self.chance(30);
        let joined = self.chance(70);
        // A cluster that starts joined has nobody who is down, and asks no name server.
        self.spare = !joined && self.chance(50);
        let mut names = self.names.clone();
        names.extend(self.spare.then(|| SPARE.to_owned()));
        let mut text = format!(
            "# Drawn by `sim sweep`, seed {seed}.\n[run]\nseed = {seed}\nuntil = \"UNTIL\"\n\n[cluster]\nnodes = {}\nprofile = \
             \"{}\"\nstart = \"{}\"\nwire = \"{}\"\n",
            list(&names),
            profile.name,
            if joined { "joined" } else { "join" },
            if wire == "mixed" { "auto" } else { wire },
        );
        for (key, percent) in [("encrypt", if self.encrypted { 100 } else { 0 }), ("snapshot", 30), ("tags_file", 30)] {
            if self.chance(percent) {
                let _ = writeln!(text, "{key} = true");
            }
        }
        if self.chance(30) {
            text.push_str("persist = false\n");
        }
        self.seeded = self.chance(60);
        if self.seeded {
            self.named = !joined && self.chance(50);
            let targets = if self.named { format!("[\"{SEEDS}\"]") } else { list(&self.names[..2]) };
            let _ = writeln!(text, "retry_join = {{ targets = {targets}, interval = \"5s\" }}");
        }
        let coalesce = if self.chance(20) { ", coalesce = true" } else { "" };
        let reclaim = if self.spare { ", dead_reclaim = \"10s\"" } else { "" };
        let _ = write!(
            text,
            "config = {{ push_pull_interval = \"10s\", reconnect_interval = \"5s\"{coalesce}{reclaim} }}\n\n[link]\n{}",
            self.link()
        );
        if self.spare {
            let _ = write!(text, "\n[[node]]\nname = \"{SPARE}\"\ndown = true\n");
        }
        if self.named {
            self.answer(0, &list(&self.names[..2]));
        }
        if wire == "mixed" {
            let some = self.some();
            let _ = write!(text, "\n[[node]]\nname = {}\nwire = \"memberlist\"\n", list(&some));
        }
        (text, profile)
    }

    /// What a link does while the weather is bad.
    fn link(&mut self) -> String {
        let delay =
            self.one_of(&["0.2ms", "1ms..5ms", "1ms..5ms", "5ms..50ms", "20ms..200ms", "5ms+50ms", "20ms~10ms"]);
        let mut text = format!("delay = \"{delay}\"\n");
        let most = self.one_of(&[0, 0, 2, 10, 30]);
        for (key, most) in [("loss", most), ("duplicate", 15), ("reorder", 15), ("refuse", 10), ("reset", 2)] {
            if most > 0 && self.chance(30) {
                let _ = writeln!(text, "{key} = \"{}%\"", 1 + self.draw.below(most));
            }
        }
        if self.chance(10) {
            let _ = writeln!(text, "truncate = \"{}%\"", 1 + self.draw.below(5));
        }
        if self.chance(10) {
            let _ = writeln!(text, "mtu = {}", 60 + self.draw.below(600));
        }
        if self.chance(10) {
            let _ = writeln!(text, "clog = \"{}\"", self.one_of(&["50ms", "400ms", "3s"]));
        }
        // Without a seal or a checksum a turned bit is believed: memberlist leaves that to UDP's own checksum.
        if (self.encrypted || self.native) && self.chance(15) {
            text.push_str("corrupt = \"1%\"\n");
        }
        text
    }

    fn step(&mut self, at: u64, verb: &str) {
        let _ = write!(self.steps, "\n[[step]]\nat = \"{}\"\n{verb}\n", seconds(at));
    }

    /// One or a few nodes, never all.
    fn some(&mut self) -> Vec<String> {
        let count = 1 + self.draw.index(self.names.len() / 2);
        let mut names = self.names.clone();
        for place in 0..count {
            let other = place + self.draw.index(names.len() - place);
            names.swap(place, other);
        }
        names.truncate(count);
        names.sort_unstable();
        names
    }

    fn others(&self, some: &[String]) -> Vec<String> {
        self.names.iter().filter(|name| !some.contains(name)).cloned().collect()
    }

    /// A node whose process does what is asked for.
    fn one(&mut self, doing: Doing) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.names.len()).filter(|&at| self.doing[at] == doing).collect();
        (!fitting.is_empty()).then(|| fitting[self.draw.index(fitting.len())])
    }

    /// One that runs, while at least two do.
    fn victim(&mut self) -> Option<usize> {
        let running = self.doing.iter().filter(|doing| **doing == Doing::Running).count();
        if running < 3 { None } else { self.one(Doing::Running) }
    }

    fn fault(&mut self, at: u64) {
        match self.draw.below(30) {
            0..3 => self.cut(at),
            3 => {
                let from = self.some();
                let to = self.others(&from);
                self.step(at, &format!("cut_one_way = {{ from = {}, to = {} }}", list(&from), list(&to)));
                self.heal_later(at);
            }
            4..6 => self.crash(at),
            6..9 => self.restart(at),
            9..11 => self.for_a_while(at, "pause", "resume"),
            11 => self.for_a_while(at, "unplug", "plug"),
            12 => self.for_a_while(at, "disk_full", "disk_freed"),
            13 => self.for_a_while(at, "stall", "unstall"),
            14 => self.leave(at),
            15 => self.force_leave(at),
            16 => {
                let link = self.link().trim_end().replace('\n', ", ");
                self.step(at, &format!("link = {{ {link} }}"));
            }
            17..19 => {
                if let Some(node) = self.one(Doing::Running) {
                    let (name, count) = (self.names[node].clone(), 1 + self.draw.below(20));
                    let event = format!(
                        "event = {{ nodes = [\"{name}\"], name = \"storm\", payload = \"{{}}\", count = {count} }}"
                    );
                    self.step(at, &event);
                }
            }
            19 => {
                if let Some(node) = self.one(Doing::Running) {
                    let (name, relay) = (self.names[node].clone(), self.draw.below(3));
                    let query = format!(
                        "query = {{ nodes = [\"{name}\"], name = \"load\", ack = true, relay_factor = {relay} }}"
                    );
                    self.step(at, &query);
                }
            }
            20..22 => {
                if let Some(node) = self.one(Doing::Running) {
                    let (name, value) = (self.names[node].clone(), self.draw.below(100));
                    self.step(at, &format!("tags = {{ nodes = [\"{name}\"], set = {{ v = \"{value}\" }} }}"));
                }
            }
            22 => self.block(at),
            23 => self.flap(at),
            24 => {
                let (some, forward) = (self.some(), self.one_of(&["300ms", "5s", "90s", "3h"]));
                self.step(at, &format!("clock = {{ nodes = {}, forward = \"{forward}\" }}", list(&some)));
            }
            25 => {
                let (some, by) = (self.some(), self.one_of(&["200ms", "1s..5s"]));
                self.step(at, &format!("disk_slow = {{ nodes = {}, by = \"{by}\" }}", list(&some)));
            }
            26 => {
                let (some, count) = (self.some(), 1 + self.draw.below(30));
                // A member that has left and is forged to be alive has the name that its next host takes.
                if !self.there.iter().any(|host| host == SPARE) {
                    self.step(at, &format!("forge = {{ nodes = {}, count = {count} }}", list(&some)));
                }
            }
            27 => self.change_host(at),
            _ => self.misdirect(at),
        }
    }

    fn cut(&mut self, at: u64) {
        let one = self.some();
        let other = self.others(&one);
        let groups = format!("[{}, {}]", list(&one), list(&other));
        let verb = if self.chance(30) {
            format!("cut = {{ groups = {groups}, reset = true }}")
        } else {
            format!("cut = {groups}")
        };
        self.step(at, &verb);
        self.heal_later(at);
    }

    /// Half of the cuts last until the calm.
    fn heal_later(&mut self, at: u64) {
        if self.chance(50) {
            let at = at + self.draw.below(20_000);
            self.step(at, "heal = \"all\"");
        }
    }

    /// A filter lets only one kind of packets through.
    fn block(&mut self, at: u64) {
        let (from, kind) = (self.some(), self.one_of(&["udp", "tcp"]));
        let (to, both) = (self.others(&from), self.chance(50));
        let ends = format!("from = {}, to = {}, both = {both}", list(&from), list(&to));
        self.step(at, &format!("link = {{ {ends}, block = \"{kind}\" }}"));
        if self.chance(50) {
            let at = at + self.draw.below(20_000);
            self.step(at, &format!("link = {{ {ends}, block = \"none\" }}"));
        }
    }

    /// A cut that comes and goes.
    fn flap(&mut self, at: u64) {
        let one = self.some();
        let (other, period) = (self.others(&one), 500 + self.draw.below(3_000));
        for round in 0..2 + self.draw.below(4) {
            self.step(at + round * period * 2, &format!("cut = [{}, {}]", list(&one), list(&other)));
            self.step(at + round * period * 2 + period, "heal = \"all\"");
        }
    }

    /// A member leaves and comes back on the spare host; or it crashes, and its host comes back under the spare's name.
    fn change_host(&mut self, at: u64) {
        if !self.spare {
            return;
        }
        let Some(node) = self.victim() else { return };
        self.spare = false;
        let name = self.names[node].clone();
        if self.chance(50) {
            self.doing[node] = Doing::Moved;
            self.there[node] = SPARE.to_owned();
            self.gone = true;
            self.step(at, &format!("leave = {{ nodes = [\"{name}\"], stay = false }}"));
            // A process that stands still has not left when its name is taken, and wins the vote about it later.
            for later in [0, LASTS / 2] {
                self.step(at + later, &format!("resume = [\"{name}\"]"));
            }
            self.step(at + LASTS, &format!("restart = {{ nodes = [\"{SPARE}\"], as = \"{name}\" }}"));
        } else {
            self.doing[node] = Doing::Moved;
            self.step(at, &format!("crash = [\"{name}\"]"));
            let at = at + self.draw.below(LASTS);
            self.step(at, &format!("restart = {{ nodes = [\"{name}\"], as = \"{SPARE}\" }}"));
        }
    }

    /// The name server says something else for a while.
    fn misdirect(&mut self, at: u64) {
        if !self.named {
            return;
        }
        self.misled = true;
        let one = list(&self.some());
        let answer = self.one_of(&["[]", "\"server misbehaving\"", "[\"10.0.0.200\"]", one.as_str()]).to_owned();
        self.answer(at, &answer);
    }

    fn answer(&mut self, at: u64, answer: &str) {
        self.step(at, &format!("dns = {{ \"{SEEDS}\" = {answer} }}"));
    }

    fn for_a_while(&mut self, at: u64, begin: &str, end: &str) {
        let some = self.some();
        self.step(at, &format!("{begin} = {}", list(&some)));
        if self.chance(80) {
            let at = at + self.one_of(&[20, 300, 2_000, 10_000]) + self.draw.below(1_000);
            self.step(at, &format!("{end} = {}", list(&some)));
        }
    }

    fn crash(&mut self, at: u64) {
        let Some(node) = self.victim() else { return };
        self.doing[node] = Doing::Down;
        let name = self.names[node].clone();
        let power = self.chance(50);
        if power && self.chance(50) {
            // What is on its way to the disk when the power goes is torn.
            self.step(at - 3_000, &format!("disk_slow = {{ nodes = [\"{name}\"], by = \"1s..5s\" }}"));
        }
        self.step(at, &format!("crash = {{ nodes = [\"{name}\"], power = {power} }}"));
    }

    /// Of one that is down, or of one that runs: a process that is replaced in place.
    fn restart(&mut self, at: u64) {
        let Some(node) = self.one(Doing::Down).or_else(|| self.victim()) else { return };
        self.doing[node] = Doing::Running;
        let name = self.names[node].clone();
        let disk = if self.chance(20) { ", disk = \"lost\"" } else { "" };
        let wire = match self.draw.below(4) {
            0 if !self.native => ", wire = \"auto\"",
            1 if !self.native => ", wire = \"memberlist\"",
            _ => "",
        };
        self.step(at, &format!("restart = {{ nodes = [\"{name}\"]{disk}{wire} }}"));
    }

    fn leave(&mut self, at: u64) {
        if let Some(node) = self.one(Doing::Out).filter(|_| self.draw.below(2) == 0) {
            self.doing[node] = Doing::Running;
            self.taken_back[node] = true;
            let name = self.names[node].clone();
            return self.step(at, &format!("rejoin = [\"{name}\"]"));
        }
        let Some(node) = self.victim() else { return };
        let stay = self.chance(40);
        self.doing[node] = if stay { Doing::Out } else { Doing::Down };
        self.gone |= !stay;
        let name = self.names[node].clone();
        self.step(at, &format!("leave = {{ nodes = [\"{name}\"], stay = {stay} }}"));
    }

    fn force_leave(&mut self, at: u64) {
        let (Some(node), target) = (self.one(Doing::Running), self.some()) else { return };
        let (name, prune) = (self.names[node].clone(), self.chance(30));
        if name != target[0] {
            let target = &target[0];
            self.step(at, &format!("force_leave = {{ nodes = [\"{name}\"], target = \"{target}\", prune = {prune} }}"));
        }
    }

    /// Every fault ends, and whoever is not there comes back.
    fn calm(&mut self, at: u64, lasts: u64) {
        // When the last of them starts.
        let mut last = at;
        self.step(at, "heal = \"all\"");
        let perfect = "delay = \"1ms..5ms\", loss = \"0%\", duplicate = \"0%\", reorder = \"0%\", corrupt = \"0%\", \
            truncate = \"0%\", refuse = \"0%\", reset = \"0%\", mtu = \"none\", clog = \"0s\", block = \"none\"";
        self.step(at, &format!("link = {{ {perfect} }}"));
        for verb in ["plug", "resume", "unstall", "disk_freed"] {
            self.step(at, &format!("{verb} = \"*\""));
        }
        for node in 0..self.names.len() {
            let name = self.names[node].clone();
            match self.doing[node] {
                Doing::Running if !self.taken_back[node] => (),
                // Who did not hear that the name was given up votes against who has it now, which is then told to stop: an operator
                // starts it once the old owner has failed for all.
                Doing::Moved if self.there[node] == SPARE => {
                    last = at + lasts / 4;
                    self.step(last, &format!("restart = {{ nodes = [\"{SPARE}\"], as = \"{name}\" }}"));
                }
                Doing::Moved => (),
                Doing::Down => self.step(at + 500, &format!("restart = [\"{name}\"]")),
                Doing::Running | Doing::Out => {
                    // A process that was paused hears only now that it is to leave, and refuses until it has.
                    for later in [500, 9_000] {
                        self.step(at + later, &format!("rejoin = [\"{name}\"]"));
                    }
                }
            }
        }
        if self.named {
            self.answer(at, &list(&self.names[..2]));
        }
        // Who asked a name server that was wrong may hold any member for a seed, and try no other while that one is alive.
        if !self.seeded || (self.misled && self.gone) {
            let (first, others) = (self.there[0].clone(), list(&self.there[1..]));
            self.step(last + 10_000, &format!("join = {{ nodes = {others}, targets = [\"{first}\"] }}"));
        }
    }
}

fn list(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_thousand_seeds_draw_scenarios_that_can_be_played() {
        for seed in 0..1_000 {
            let text = scenario(seed);
            let read = Scenario::parse("weather.toml", &text);
            assert!(read.is_ok(), "seed {seed}: {}\n{text}", read.expect_err("an error"));
        }
    }

    #[test]
    fn a_seed_draws_one_weather_and_another_seed_another() {
        assert_eq!(scenario(7), scenario(7));
        assert_ne!(scenario(7), scenario(8));
    }
}
