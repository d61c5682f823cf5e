mod go_regex;
