// A walk through the report of five nodes.

say("begin", text("time"));
say("verdict", text("verdict"));
say("findings", document.querySelectorAll("#findings button").length);
document.querySelectorAll("#findings button")[1].click();
say("second finding", text("time"));
document.querySelectorAll("#findings button")[0].click();
mouse("matrix", "click", ...cell(2, 0));
say("cell", text("belief").replace(/, since.*/, ""));
say("colours", colours("matrix") > 3 && colours("beliefs") > 3 && colours("packets") > 2);
mouse("beliefs", "click", ...strip("beliefs", 5000, 1, 22));
// A pointer has whole pixels, so that its time is only near.
say("strip", Math.abs(time - 5000) < 300);
setTime(5000);
say("earlier", text("belief"));
press("ArrowRight");
say("key", text("time"));
mouse("matrix", "mousemove", ...cell(0, 4));
say("hover", text("tip"));
mouse("matrix", "mouseleave", 0, 0);
mouse("steps", "click", ...strip("steps", 70000, 0, 18));
say("bar", text("time"));
const failed = document.querySelector("#timeline .entry.failed");
const at = failed.querySelector(".clock").textContent;
failed.click();
const told = entries.find((entry) => entry.kind === "failed");
say("entry", at === text("time") && beliefs.state[told.nodes.at(-1) * count + told.about.at(-1)] === STATES.indexOf("failed"));
say("now", document.querySelector("#timeline .entry.now").textContent.startsWith(at));
document.querySelector("#spreads tr").click();
say("event", text("time"));
document.getElementById("node").value = "3";
document.getElementById("node").dispatchEvent(new Event("change"));
say("filter", shown.length < entries.length && shown.every((entry) => entry.kind === "step" || entry.nodes.includes(3) || entry.about.includes(3)));
setTime(60500);
mouse("beliefs", "mousemove", ...strip("beliefs", 60500, 3, 22));
say("frozen", /d, frozen, believes 2 alive, 2 failed/.test(text("tip")) || text("tip"));
say("address", location.hash);
