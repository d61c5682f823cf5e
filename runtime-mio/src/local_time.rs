//! Local time for log lines: a reader of TZif files (RFC 9636) and of the rule at their end.

use std::fmt;
use std::fs;
use std::path::Path;

const ZONE_DIRS: [&str; 3] = ["/usr/share/zoneinfo/", "/usr/lib/locale/TZ/", "/etc/zoneinfo/"];
const FILE_BYTES_MAX: u64 = 1 << 20;
const DAY: i64 = 86_400;

/// A time zone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Times from which on an offset holds, in order.
    changes: Vec<(i64, i32)>,
    /// The offset before the first change.
    first: i32,
    /// What holds after the last change.
    rule: Option<Rule>,
}

/// The rule for all years behind the table: standard time, and daylight saving time where there is one.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    standard: i32,
    saving: Option<Saving>,
}

#[derive(Debug, PartialEq, Eq)]
struct Saving {
    offset: i32,
    begin: (Day, i32),
    end: (Day, i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// `Jn`: 1 to 365, 29 February is never counted.
    Julian(i64),
    /// `n`: 0 to 365.
    Zero(i64),
    /// `Mm.w.d`: day `d` of week `w` of month `m`; week 5 is the last.
    Month(i64, i64, i64),
}

impl Zone {
    /// The zone that the value of `TZ` names, as Go reads it: unset is the system's zone, empty and unknown are UTC.
    pub(crate) fn load(tz: Option<&str>) -> Self {
        let read = |path: &Path| {
            let small = fs::metadata(path).is_ok_and(|meta| meta.len() <= FILE_BYTES_MAX);
            small.then(|| fs::read(path).ok()).flatten().and_then(|bytes| Self::parse(&bytes))
        };
        let zone = match tz.map(|tz| tz.strip_prefix(':').unwrap_or(tz)) {
            None => read(Path::new("/etc/localtime")),
            Some("") => None,
            Some(path) if path.starts_with('/') => read(Path::new(path)),
            Some(name) if name.split('/').any(|part| part == "..") => None,
            Some(name) => ZONE_DIRS.iter().find_map(|dir| read(&Path::new(dir).join(name))),
        };
        zone.unwrap_or_default()
    }

    /// Reads a TZif file, version 1 and later.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let first = Header::parse(bytes)?;
        if first.version == 0 {
            return Self::parse_block(&first, bytes.get(Header::BYTES..)?, 4, None);
        }
        let rest = bytes.get(Header::BYTES + first.block_bytes(4)..)?;
        let second = Header::parse(rest)?;
        let block = rest.get(Header::BYTES..)?;
        let footer = block.get(second.block_bytes(8)..)?;
        let rule = footer.strip_prefix(b"\n").and_then(|text| Rule::parse(text.split(|&byte| byte == b'\n').next()?));
        Self::parse_block(&second, block, 8, rule)
    }

    fn parse_block(header: &Header, block: &[u8], width: usize, rule: Option<Rule>) -> Option<Self> {
        let (times, rest) = block.split_at_checked(header.times * width)?;
        let (kinds, rest) = rest.split_at_checked(header.times)?;
        let offsets: Vec<i32> = rest
            .get(..header.kinds * 6)?
            .chunks_exact(6)
            .map(|kind| Some(i32::from_be_bytes(kind.get(..4)?.try_into().ok()?)))
            .collect::<Option<_>>()?;
        let changes = times
            .chunks_exact(width)
            .zip(kinds)
            .map(|(time, &kind)| {
                let time = match width {
                    4 => i64::from(i32::from_be_bytes(time.try_into().ok()?)),
                    _ => i64::from_be_bytes(time.try_into().ok()?),
                };
                Some((time, *offsets.get(usize::from(kind))?))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { changes, first: *offsets.first()?, rule })
    }

    /// Seconds east of Greenwich at `unix`.
    fn offset(&self, unix: i64) -> i32 {
        let passed = self.changes.partition_point(|&(time, _)| time <= unix);
        match (&self.rule, self.changes.get(passed.wrapping_sub(1))) {
            (Some(rule), _) if passed == self.changes.len() => rule.offset(unix),
            (_, Some(&(_, offset))) => offset,
            (_, None) => self.first,
        }
    }

    /// `YYYY/MM/DD HH:MM:SS` of `unix` in this zone.
    pub(crate) fn stamp(&self, unix: i64) -> Stamp {
        Stamp(unix.saturating_add(i64::from(self.offset(unix))))
    }
}

struct Header {
    version: u8,
    isut: usize,
    isstd: usize,
    leap: usize,
    times: usize,
    kinds: usize,
    chars: usize,
}

impl Header {
    const BYTES: usize = 44;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::BYTES)?;
        let count = |at: usize| {
            let count = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
            usize::try_from(count).ok().filter(|&count| count <= 1 << 20)
        };
        bytes.starts_with(b"TZif").then_some(())?;
        Some(Self {
            version: *bytes.get(4)?,
            isut: count(20)?,
            isstd: count(24)?,
            leap: count(28)?,
            times: count(32)?,
            kinds: count(36)?,
            chars: count(40)?,
        })
    }

    const fn block_bytes(&self, width: usize) -> usize {
        self.times * (width + 1) + self.kinds * 6 + self.chars + self.leap * (width + 4) + self.isstd + self.isut
    }
}

impl Rule {
    /// Reads `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut text = Scan(std::str::from_utf8(text).ok()?);
        text.name()?;
        let standard = -text.time()?;
        if text.0.is_empty() {
            return Some(Self { standard, saving: None });
        }
        text.name()?;
        let offset = if text.0.starts_with(',') { standard + 3_600 } else { -text.time()? };
        let begin = text.change()?;
        let end = text.change()?;
        Some(Self { standard, saving: Some(Saving { offset, begin, end }) })
    }

    fn offset(&self, unix: i64) -> i32 {
        let Some(saving) = &self.saving else { return self.standard };
        let year = civil((unix + i64::from(self.standard)).div_euclid(DAY)).0;
        let begin = saving.begin.0.start(year) + i64::from(saving.begin.1 - self.standard);
        let end = saving.end.0.start(year) + i64::from(saving.end.1 - saving.offset);
        let saved = if begin < end { (begin..end).contains(&unix) } else { !(end..begin).contains(&unix) };
        if saved { saving.offset } else { self.standard }
    }
}

impl Day {
    /// Seconds since 1970 at which this day of `year` begins, were the offset zero.
    fn start(self, year: i64) -> i64 {
        let leap = i64::from(days(year + 1, 1, 1) - days(year, 1, 1) == 366);
        let day = match self {
            Self::Julian(day) => days(year, 1, 1) + day - 1 + if day > 59 { leap } else { 0 },
            Self::Zero(day) => days(year, 1, 1) + day,
            Self::Month(month, week, weekday) => {
                let first = days(year, month, 1);
                let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                // 1 January 1970 was a Thursday.
                let day = first + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                if day < next { day } else { day - 7 }
            }
        };
        day * DAY
    }
}

/// What is left of a rule's text.
struct Scan<'a>(&'a str);

impl Scan<'_> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &str {
        let end = self.0.find(|found| !wanted(found)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, what: char) -> bool {
        self.0.strip_prefix(what).inspect(|rest| self.0 = rest).is_some()
    }

    fn name(&mut self) -> Option<()> {
        if self.skip('<') {
            self.take(|found| found != '>');
            return self.skip('>').then_some(());
        }
        (!self.take(|found| found.is_ascii_alphabetic()).is_empty()).then_some(())
    }

    fn number(&mut self) -> Option<i64> {
        self.take(|found| found.is_ascii_digit()).parse().ok().filter(|&number| number <= 1_000)
    }

    /// `[+-]h[:m[:s]]` in seconds.
    fn time(&mut self) -> Option<i32> {
        let sign = if self.skip('-') { -1 } else { 1 };
        self.skip('+');
        let mut seconds = self.number()? * 3_600;
        for unit in [60, 1] {
            if self.skip(':') {
                seconds += self.number()? * unit;
            }
        }
        i32::try_from(sign * seconds).ok()
    }

    /// `,DAY[/TIME]`; the time is 02:00 where it is left out.
    fn change(&mut self) -> Option<(Day, i32)> {
        self.skip(',').then_some(())?;
        let day = if self.skip('J') {
            Day::Julian(self.number()?)
        } else if self.skip('M') {
            let month = self.number().filter(|month| (1..=12).contains(month))?;
            self.skip('.').then_some(())?;
            let week = self.number()?;
            self.skip('.').then_some(())?;
            Day::Month(month, week, self.number()?)
        } else {
            Day::Zero(self.number()?)
        };
        Some((day, if self.skip('/') { self.time()? } else { 7_200 }))
    }
}

/// Days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from 1970.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// A local time as log lines show it; holds seconds since 1970 with the zone's offset added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(i64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        write!(f, "{year:04}/{month:02}/{day:02} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
    }
}

impl Stamp {
    /// As Go shows times: `2026-11-23 06:22:05`.
    pub(crate) fn dashed(self) -> String {
        self.to_string().replace('/', "-")
    }

    /// As syslog wants it: `Nov 23 06:05:04`, the day padded with a blank (RFC 3164, 4.1.2).
    pub(crate) fn rfc3164(self) -> impl fmt::Display {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        fmt::from_fn(move |f| {
            let (_, month, day) = civil(self.0.div_euclid(DAY));
            let second = self.0.rem_euclid(DAY);
            let month =
                usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default();
            write!(f, "{month} {day:>2} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(rule: &str) -> Zone {
        Zone { rule: Some(Rule::parse(rule.as_bytes()).expect("a rule")), ..Zone::default() }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, want) in [
            (0, "1970/01/01 00:00:00"),
            (951_782_399, "2000/02/28 23:59:59"),
            (951_782_400, "2000/02/29 00:00:00"),
            (1_795_500_000, "2026/11/24 06:00:00"),
            (-1, "1969/12/31 23:59:59"),
        ] {
            assert_eq!(Zone::default().stamp(unix).to_string(), want);
        }
    }

    #[test]
    fn syslog_has_dates_of_its_own() {
        for (unix, want) in [(0, "Jan  1 00:00:00"), (1_795_500_000, "Nov 24 06:00:00"), (-1, "Dec 31 23:59:59")] {
            assert_eq!(Zone::default().stamp(unix).rfc3164().to_string(), want);
        }
    }

    #[test]
    fn daylight_saving_begins_and_ends_by_the_rule() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        // 29 March 2026 01:00 UTC and 25 October 2026 01:00 UTC.
        for (unix, want) in
            [(1_774_745_999, 3_600), (1_774_746_000, 7_200), (1_792_889_999, 7_200), (1_792_890_000, 3_600)]
        {
            assert_eq!(berlin.offset(unix), want, "at {unix}");
        }
    }

    #[test]
    fn southern_rules_wrap_around_the_year() {
        let sydney = zone("AEST-10AEDT,M10.1.0,M4.1.0/3");
        assert_eq!(sydney.offset(1_767_225_600), 39_600, "January is summer");
        assert_eq!(sydney.offset(1_782_864_000), 36_000, "July is winter");
    }

    #[test]
    fn rules_without_saving_and_with_quoted_names_are_read() {
        assert_eq!(zone("<+0545>-5:45").offset(0), 20_700);
        assert_eq!(zone("EST5").offset(0), -18_000);
        for bad in ["", "5", "CET", "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,M3.5.0"] {
            assert_eq!(Rule::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_table_wins_until_its_last_change_and_junk_is_no_zone() {
        let mut file = b"TZif2".to_vec();
        file.resize(Header::BYTES, 0);
        let mut body = file.clone();
        body[35] = 2;
        body[39] = 2;
        body[43] = 4;
        for time in [1_000_i64, 2_000] {
            body.extend(time.to_be_bytes());
        }
        body.extend([1, 0]);
        for offset in [60_i32, 120] {
            body.extend(offset.to_be_bytes());
            body.extend([0, 0]);
        }
        body.extend(b"AAA\0\nAAA-1\n");
        file.extend(&body);
        let zone = Zone::parse(&file).expect("a zone");
        assert_eq!([0, 1_000, 1_999, 2_000].map(|unix| zone.offset(unix)), [60, 120, 120, 3_600]);
        for len in 0..file.len() - 7 {
            assert_eq!(Zone::parse(&file[..len]), None, "{len} bytes");
        }
    }
}
