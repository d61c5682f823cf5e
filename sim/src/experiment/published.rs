//! The published figures (arXiv 1707.00788, tables IV to VII and figures 2 and 3; protocol.md 4.4).

/// False positives of all 4,320 interval runs, and those of them at healthy members.
pub(super) const FALSE_POSITIVES: [(&str, u64, u64); 5] = [
    ("SWIM", 339_002, 1_326),
    ("LHA-Probe", 229_574, 436),
    ("LHA-Suspicion", 10_174, 89),
    ("Buddy System", 318_935, 591),
    ("Lifeguard", 5_193, 25),
];

/// False positives by the number of concurrent anomalies, 480 runs each.
pub(super) const BY_CONCURRENT: [(&str, [u64; 9]); 5] = [
    ("SWIM", [906, 5_973, 11_286, 23_148, 34_504, 45_490, 58_973, 77_082, 81_684]),
    ("LHA-Probe", [512, 3_208, 7_226, 15_199, 21_923, 36_480, 41_837, 50_280, 52_932]),
    ("LHA-Suspicion", [49, 311, 142, 581, 1_341, 1_119, 1_762, 2_892, 1_977]),
    ("Buddy System", [950, 6_388, 8_476, 20_188, 34_740, 46_452, 58_449, 71_751, 71_581]),
    ("Lifeguard", [18, 143, 110, 224, 573, 751, 842, 1_335, 1_197]),
];

/// The same at healthy members.
pub(super) const HEALTHY_BY_CONCURRENT: [(&str, [u64; 9]); 5] = [
    ("SWIM", [24, 9, 43, 40, 90, 204, 183, 276, 458]),
    ("LHA-Probe", [2, 1, 3, 7, 57, 43, 57, 157, 109]),
    ("LHA-Suspicion", [0, 1, 2, 4, 9, 10, 11, 18, 34]),
    ("Buddy System", [1, 5, 12, 24, 45, 63, 96, 159, 186]),
    ("Lifeguard", [0, 1, 4, 2, 0, 6, 4, 3, 5]),
];

/// First detection and full dissemination at the median, 99 % and 99.9 %, in milliseconds.
pub(super) const LATENCY_MS: [(&str, [u64; 3], [u64; 3]); 5] = [
    ("SWIM", [12_440, 16_960, 19_400], [12_900, 16_930, 20_170]),
    ("LHA-Probe", [12_420, 17_750, 20_100], [12_900, 17_980, 20_560]),
    ("LHA-Suspicion", [12_420, 17_470, 25_410], [12_890, 17_330, 23_800]),
    ("Buddy System", [12_450, 17_120, 19_160], [12_920, 17_180, 19_810]),
    ("Lifeguard", [12_450, 17_900, 21_200], [12_910, 18_050, 21_680]),
];

/// Packets in ten thousands and bytes in hundredths of GiB, over all interval runs.
pub(super) const LOAD: [(&str, u64, u64); 5] = [
    ("SWIM", 43_533, 14_915),
    ("LHA-Probe", 42_862, 13_428),
    ("LHA-Suspicion", 48_455, 15_887),
    ("Buddy System", 43_562, 14_767),
    ("Lifeguard", 48_142, 14_613),
];

/// Lifeguard with other α and β, in hundredths of a percent of SWIM: first and full detection at the median, 99 % and
/// 99.9 %, false positives, and those at healthy members.
pub(super) const TUNED: [(&str, [u64; 8]); 9] = [
    ("Lifeguard 2,2", [5_314, 5_512, 6_981, 7_307, 7_608, 7_620, 9_837, 3_115]),
    ("Lifeguard 2,4", [5_410, 5_628, 7_288, 7_696, 7_541, 7_511, 4_364, 2_247]),
    ("Lifeguard 2,6", [5_434, 5_674, 7_553, 7_915, 8_036, 7_858, 2_416, 1_365]),
    ("Lifeguard 4,2", [8_296, 8_442, 9_428, 9_705, 9_907, 9_217, 3_772, 2_029]),
    ("Lifeguard 4,4", [8_304, 8_403, 9_617, 9_669, 9_371, 9_514, 804, 950]),
    ("Lifeguard 4,6", [8_312, 8_442, 9_682, 9_652, 9_469, 9_271, 318, 483]),
    ("Lifeguard 5,2", [9_976, 9_992, 10_495, 10_573, 11_232, 10_764, 2_661, 1_538]),
    ("Lifeguard 5,4", [9_952, 9_961, 10_271, 10_508, 11_144, 10_793, 543, 505]),
    ("Lifeguard", [10_008, 10_008, 10_554, 10_662, 10_928, 10_749, 153, 189]),
];
