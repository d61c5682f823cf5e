//! Unicode as Go 1.19 knows it: version 13.0, names exactly as written, one-to-one case folding.
//!
//! The tables are those of `regex-syntax`, which are newer; what has changed since 13.0 is taken back here.

use alloc::collections::BTreeMap;
use alloc::format;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::escape::{RUNE_MAX, Rune};

/// The tables that one pattern has asked for; kept, so that a pattern cannot ask for the same one thousands of times.
#[derive(Default)]
pub(super) struct Tables {
    known: Option<ClassUnicode>,
    properties: BTreeMap<(&'static str, Case), ClassUnicode>,
}

/// Whether upper and lower case count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Case {
    Sensitive,
    Folded,
}

impl Tables {
    /// Finds the class Go has under a name in `\p{name}`; in the name, upper and lower case always count.
    pub(super) fn property(&mut self, name: &[u8], case: Case) -> Option<ClassUnicode> {
        let name = core::str::from_utf8(name).ok()?;
        if name == "Any" {
            return Some(class([(0, RUNE_MAX)]));
        }
        let (name, kind) = match (CATEGORIES.binary_search(&name), SCRIPTS.binary_search(&name)) {
            (Ok(index), _) => (*CATEGORIES.get(index)?, "gc"),
            (Err(_), Ok(index)) => (*SCRIPTS.get(index)?, "sc"),
            (Err(_), Err(_)) => return None,
        };
        if let Some(found) = self.properties.get(&(name, case)) {
            return Some(found.clone());
        }
        let plain = self.look_up(kind, name);
        let found = match case {
            Case::Sensitive => plain,
            Case::Folded => self.fold(&plain),
        };
        self.properties.insert((name, case), found.clone());
        Some(found)
    }

    /// The characters that a class matches when upper and lower case do not count.
    pub(super) fn fold(&mut self, plain: &ClassUnicode) -> ClassUnicode {
        let mut folded = plain.clone();
        if plain.ranges().last().is_none_or(|range| range.end().is_ascii()) {
            // These folds are as old as Unicode.
            folded.case_fold_simple();
            return folded;
        }
        let known = self.known();
        folded.intersect(known);
        folded.difference(&class(FOLDED_SINCE.map(|rune| (rune, rune))));
        folded.case_fold_simple();
        folded.intersect(known);
        folded.union(plain);
        folded
    }

    fn look_up(&mut self, kind: &str, name: &str) -> ClassUnicode {
        let mut found = match name {
            // Go's C has no unassigned characters.
            "C" => table("[\\p{gc=Cc}\\p{gc=Cf}\\p{gc=Co}]"),
            // Only surrogates, which no text contains.
            "Cs" => return ClassUnicode::empty(),
            _ => table(&format!("\\p{{{kind}={name}}}")),
        };
        found.intersect(self.known());
        for Moved { ranges, then, now } in MOVED {
            let moved = class(ranges.iter().copied());
            if name == then {
                found.union(&moved);
            } else if name == now {
                found.difference(&moved);
            }
        }
        found
    }

    /// The characters of Unicode 13.0.
    fn known(&mut self) -> &ClassUnicode {
        self.known.get_or_insert_with(|| table("\\p{age=13.0}"))
    }
}

/// The class of some ranges, which may overlap. Surrogates are left out: no text contains them.
pub(super) fn class(ranges: impl IntoIterator<Item = (Rune, Rune)>) -> ClassUnicode {
    ClassUnicode::new(ranges.into_iter().filter_map(|(start, end)| {
        let start = char::from_u32(start).unwrap_or('\u{E000}');
        let end = char::from_u32(end).unwrap_or('\u{D7FF}');
        (start <= end).then(|| ClassUnicodeRange::new(start, end))
    }))
}

/// Reads a class out of the tables of `regex-syntax`; the pattern is one of those above.
fn table(pattern: &str) -> ClassUnicode {
    match regex_syntax::parse(pattern).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(found))) => found,
        // A class of one character, such as Zl, is made a literal.
        Ok(HirKind::Literal(literal)) => {
            let text = core::str::from_utf8(&literal.0).unwrap_or_default();
            class(text.chars().map(|only| (Rune::from(only), Rune::from(only))))
        }
        Ok(_) | Err(_) => ClassUnicode::empty(),
    }
}

/// Characters that have moved from one name to another after Unicode 13.0.
struct Moved {
    ranges: &'static [(Rune, Rune)],
    then: &'static str,
    now: &'static str,
}

const MOVED: [Moved; 2] = [
    Moved { ranges: &[(0x1734, 0x1734), (0x1171E, 0x1171E)], then: "Mn", now: "Mc" },
    Moved { ranges: &[(0x16FE2, 0x16FE3)], then: "Common", now: "Han" },
];

/// Got a partner in case after Unicode 13.0 although both were there before.
const FOLDED_SINCE: [Rune; 6] = [0x390, 0x3B0, 0x1FD3, 0x1FE3, 0xFB05, 0xFB06];

/// unicode.Categories of Go 1.19, sorted.
const CATEGORIES: [&str; 36] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// unicode.Scripts of Go 1.19, sorted.
const SCRIPTS: [&str; 156] = [
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dives_Akuru",
    "Dogra",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gunjala_Gondi",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanifi_Rohingya",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kayah_Li",
    "Kharoshthi",
    "Khitan_Small_Script",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Masaram_Gondi",
    "Medefaidrin",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "New_Tai_Lue",
    "Newa",
    "Nko",
    "Nushu",
    "Nyiakeng_Puachue_Hmong",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_Sogdian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sogdian",
    "Sora_Sompeng",
    "Soyombo",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Ugaritic",
    "Vai",
    "Wancho",
    "Warang_Citi",
    "Yezidi",
    "Yi",
    "Zanabazar_Square",
];

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]
mod tests {
    use alloc::string::String;

    use serde_json::Value;

    use super::*;

    #[test]
    fn properties_are_those_of_gos_tables() {
        let file: Value = serde_json::from_str(include_str!("../tests/regex-vectors/unicode.json")).unwrap();
        let properties = file["properties"].as_array().unwrap();
        assert_eq!(properties.len(), CATEGORIES.len() + SCRIPTS.len());
        let mut tables = Tables::default();
        for property in properties {
            let name = property["name"].as_str().unwrap();
            let found = tables.property(name.as_bytes(), Case::Sensitive).unwrap();
            let ranges = || found.iter().map(|range| (u32::from(range.start()), u32::from(range.end())));
            let characters: u32 = ranges().map(|(start, end)| end - start + 1).sum();
            let text: String = ranges().map(|(start, end)| format!("{start:x}-{end:x} ")).collect();
            assert_eq!(Some(u64::from(characters)), property["characters"].as_u64(), "{name}");
            assert_eq!(Some(u64::from(crc32fast::hash(text.as_bytes()))), property["ranges_crc32"].as_u64(), "{name}");
        }
    }
}
