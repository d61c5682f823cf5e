// A walk through the report of two hundred nodes.

mouse("beliefs", "click", ...strip("beliefs", 14000, 1, 3));
say("end", text("time"));
mouse("matrix", "click", ...cell(199, 49));
say("cell", text("belief").replace(/, since.*/, ""));
say("summary", text("summary"));
mouse("matrix", "click", ...cell(49, 0));
say("down", text("belief"));
mouse("beliefs", "click", ...strip("beliefs", 500, 1, 3));
say("before", text("summary"));
say("colours", colours("matrix") > 3 && colours("beliefs") > 3);
say("event", document.querySelector("#spreads tr").children[5].textContent);
say("rows", document.querySelectorAll("#timeline .entry").length < 80);
