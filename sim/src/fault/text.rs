//! Plans as text: what a person writes and a failure prints.
//!
//! ```text
//!   plan    = rule ; rule ; ...                (or a rule a line)
//!   rule    = kind [times] [scope] [trigger]   words in any order behind the kind
//!   times   = once | 3x | sticky | growing                        without: once
//!   scope   = lba=7 | extent=7+8 | zone=17 | element=2 | structure=value    without: anywhere
//!   trigger = at=request:120 | at=time:5s | p=0.001               without: at=request:0
//!
//!   read-error sticky zone=17 at=request:120; bit-rot 3x structure=value p=0.001
//! ```
//!
//! What is printed is read back as the same plan; an error is one sentence.

use std::fmt;
use std::str::FromStr;

use shingle_hal::{ElementId, Extent, Lba, ZoneId};

use super::plan::{
    FaultKind, FaultPlan, KINDS, PPB_ALWAYS, Rule, STRUCTURES, Scope, Structure, Times, Trigger,
};

/// Units of time, longest first.
const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Digits of a probability.
const DIGITS_MAX: usize = 9;

/// Why a text is no plan. Prints as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultPlanError {
    /// A rule begins with a word that is no kind of fault.
    UnknownKind(String),
    /// A word that says nothing about a rule.
    UnknownWord {
        /// The kind of the rule.
        kind: FaultKind,
        /// The word.
        word: String,
    },
    /// A setting with a value that it cannot have.
    BadValue {
        /// The setting.
        setting: &'static str,
        /// What stood there.
        value: String,
    },
    /// Something was said twice.
    Twice {
        /// The kind of the rule.
        kind: FaultKind,
        /// What.
        what: &'static str,
    },
    /// The parts of a rule do not fit together.
    Nonsense {
        /// The kind of the rule.
        kind: FaultKind,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl fmt::Display for FaultPlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(word) => {
                let kinds: Vec<_> = KINDS.iter().map(|(_, word)| *word).collect();
                write!(f, "unknown fault `{word}`; known are {}", kinds.join(", "))
            }
            Self::UnknownWord { kind, word } => write!(
                f,
                "`{word}` says nothing about a {kind}; known are once, 3x, sticky, growing, lba=, \
                 extent=, zone=, element=, structure=, at=request:, at=time: and p="
            ),
            Self::BadValue { setting: setting @ "structure", value } => {
                let known: Vec<_> = STRUCTURES.iter().map(|(_, word)| *word).collect();
                write!(f, "`{setting}` cannot be `{value}`; known are {}", known.join(", "))
            }
            Self::BadValue { setting, value } => write!(f, "`{setting}` cannot be `{value}`"),
            Self::Twice { kind, what } => write!(f, "a {kind} has two words for {what}"),
            Self::Nonsense { kind, why } => write!(f, "this {kind} makes no sense: {why}"),
        }
    }
}

impl std::error::Error for FaultPlanError {}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        let rules = text.split([';', '\n']).filter(|rule| !rule.trim().is_empty());
        Ok(Self { rules: rules.map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Rule {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default();
        let known = KINDS.iter().find(|(_, known)| *known == word);
        let (kind, _) = *known.ok_or_else(|| FaultPlanError::UnknownKind(word.to_owned()))?;
        let (mut times, mut scope, mut trigger) = (None, None, None);
        for word in words {
            let what = if let Some(given) = times_of(word)? {
                times.replace(given).map(|_| "how often")
            } else if let Some(given) = scope_of(word)? {
                scope.replace(given).map(|_| "where")
            } else if let Some(given) = trigger_of(word)? {
                trigger.replace(given).map(|_| "when")
            } else {
                return Err(FaultPlanError::UnknownWord { kind, word: word.to_owned() });
            };
            if let Some(what) = what {
                return Err(FaultPlanError::Twice { kind, what });
            }
        }
        let plain = Self::new(kind);
        let rule = Self {
            kind,
            times: times.unwrap_or(plain.times),
            scope: scope.unwrap_or(plain.scope),
            trigger: trigger.unwrap_or(plain.trigger),
        };
        match rule.nonsense() {
            None => Ok(rule),
            Some(why) => Err(FaultPlanError::Nonsense { kind, why }),
        }
    }
}

fn times_of(word: &str) -> Result<Option<Times>, FaultPlanError> {
    let count = word.strip_suffix('x').filter(|n| n.starts_with(|c: char| c.is_ascii_digit()));
    Ok(match (word, count) {
        ("once", _) => Some(Times::Times(1)),
        ("sticky", _) => Some(Times::Sticky),
        ("growing", _) => Some(Times::Growing),
        (_, Some(count)) => Some(Times::Times(value("times", count, word)?)),
        _ => None,
    })
}

fn scope_of(word: &str) -> Result<Option<Scope>, FaultPlanError> {
    let Some((setting, text)) = word.split_once('=') else {
        return Ok(None);
    };
    Ok(Some(match setting {
        "lba" => Scope::Lba(Lba(value("lba", text, text)?)),
        "extent" => {
            let bad = || bad("extent", text);
            let (start, count) = text.split_once('+').ok_or_else(bad)?;
            let start = Lba(value("extent", start, text)?);
            Scope::Extent(Extent::new(start, value("extent", count, text)?))
        }
        "zone" => Scope::Zone(ZoneId(value("zone", text, text)?)),
        "element" => Scope::Element(ElementId(value("element", text, text)?)),
        "structure" => {
            let known = STRUCTURES.iter().find(|(_, known)| *known == text);
            Scope::Structure(known.ok_or_else(|| bad("structure", text))?.0)
        }
        _ => return Ok(None),
    }))
}

fn trigger_of(word: &str) -> Result<Option<Trigger>, FaultPlanError> {
    if let Some(text) = word.strip_prefix("p=") {
        return Ok(Some(Trigger::Chance { ppb: ppb_of(text).ok_or_else(|| bad("p", text))? }));
    }
    let Some(text) = word.strip_prefix("at=") else {
        return Ok(None);
    };
    if let Some(number) = text.strip_prefix("request:") {
        return Ok(Some(Trigger::Request(value("at", number, text)?)));
    }
    let time = text.strip_prefix("time:").ok_or_else(|| bad("at", text))?;
    let digits = time.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = UNITS.iter().find(|(unit, _)| *unit == &time[digits.len()..]);
    let (_, unit_ns) = unit.ok_or_else(|| bad("at", text))?;
    let number: u64 = value("at", digits, text)?;
    let ns = number.checked_mul(*unit_ns).ok_or_else(|| bad("at", text))?;
    Ok(Some(Trigger::Time { ns }))
}

/// A probability of at most nine decimals, in parts in a thousand million.
fn ppb_of(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > DIGITS_MAX || !are_digits(decimals) {
        return None;
    }
    let parts: u32 = format!("{decimals:0<DIGITS_MAX$}").parse().ok()?;
    let ppb = u32::from(whole == "1") * PPB_ALWAYS + parts;
    (ppb <= PPB_ALWAYS).then_some(ppb)
}

fn value<T: FromStr>(setting: &'static str, text: &str, whole: &str) -> Result<T, FaultPlanError> {
    text.parse().map_err(|_| bad(setting, whole))
}

fn bad(setting: &'static str, value: &str) -> FaultPlanError {
    FaultPlanError::BadValue { setting, value: value.to_owned() }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.rules.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.times {
            Times::Times(1) => {}
            Times::Times(count) => write!(f, " {count}x")?,
            Times::Sticky => write!(f, " sticky")?,
            Times::Growing => write!(f, " growing")?,
        }
        match self.scope {
            Scope::Anywhere => {}
            Scope::Lba(lba) => write!(f, " lba={}", lba.0)?,
            Scope::Extent(extent) => write!(f, " extent={}+{}", extent.start.0, extent.count.0)?,
            Scope::Zone(zone) => write!(f, " zone={}", zone.0)?,
            Scope::Element(element) => write!(f, " element={}", element.0)?,
            Scope::Structure(structure) => write!(f, " structure={structure}")?,
        }
        match self.trigger {
            Trigger::Request(0) => Ok(()),
            Trigger::Request(number) => write!(f, " at=request:{number}"),
            Trigger::Time { ns } => {
                let exact = UNITS.iter().find(|(_, unit_ns)| ns.is_multiple_of(*unit_ns));
                let (unit, unit_ns) = exact.unwrap_or(&UNITS[UNITS.len() - 1]);
                write!(f, " at=time:{}{unit}", ns / unit_ns)
            }
            Trigger::Chance { ppb } => {
                let decimals = format!("{:0DIGITS_MAX$}", ppb % PPB_ALWAYS);
                let decimals = decimals.trim_end_matches('0');
                let point = if decimals.is_empty() { "" } else { "." };
                write!(f, " p={}{point}{decimals}", ppb / PPB_ALWAYS)
            }
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = STRUCTURES.iter().find(|(structure, _)| structure == self);
        f.pad(known.map_or("", |(_, word)| word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_rule() -> impl Strategy<Value = Rule> {
        let times = prop_oneof![
            (1..u32::MAX).prop_map(Times::Times),
            Just(Times::Times(1)),
            Just(Times::Sticky),
            Just(Times::Growing),
        ];
        let structures: Vec<_> = STRUCTURES.iter().map(|(structure, _)| *structure).collect();
        let scope = prop_oneof![
            Just(Scope::Anywhere),
            any::<u64>().prop_map(|lba| Scope::Lba(Lba(lba))),
            (any::<u64>(), 1..u32::MAX).prop_map(|(l, n)| Scope::Extent(Extent::new(Lba(l), n))),
            any::<u32>().prop_map(|zone| Scope::Zone(ZoneId(zone))),
            any::<u16>().prop_map(|element| Scope::Element(ElementId(element))),
            select(structures).prop_map(Scope::Structure),
        ];
        let unit = select(UNITS.iter().map(|(_, ns)| *ns).collect::<Vec<_>>());
        let trigger = prop_oneof![
            Just(Trigger::Request(0)),
            any::<u64>().prop_map(Trigger::Request),
            (any::<u32>(), unit).prop_map(|(n, unit)| Trigger::Time { ns: u64::from(n) * unit }),
            any::<u64>().prop_map(|ns| Trigger::Time { ns }),
            (0..=PPB_ALWAYS).prop_map(|ppb| Trigger::Chance { ppb }),
        ];
        let kind = select(FaultKind::all().collect::<Vec<_>>());
        (kind, times, scope, trigger)
            .prop_map(|(kind, times, scope, trigger)| Rule { kind, times, scope, trigger })
            .prop_filter("sense", |rule| rule.nonsense().is_none())
    }

    proptest! {
        #[test]
        fn any_plan_is_read_back_as_it_was_printed(
            rules in proptest::collection::vec(any_rule(), 0..6)
        ) {
            let plan = FaultPlan { rules };
            prop_assert_eq!(plan.to_string().parse(), Ok(plan));
        }

        #[test]
        fn any_text_is_a_plan_or_one_sentence(text in "[a-z0-9=:+.; -]{0,60}") {
            match text.parse::<FaultPlan>() {
                Ok(plan) => prop_assert_eq!(plan.to_string().parse(), Ok(plan)),
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }
    }

    #[test]
    fn example_prints_as_it_was_written() {
        let text = "read-error sticky zone=17 at=request:120; \
                    bit-rot 3x structure=value p=0.001; element-lost element=2 at=time:5s";
        let plan: FaultPlan = text.parse().unwrap();
        assert_eq!(plan.rules.len(), 3);
        assert_eq!(plan.rules[1].trigger, Trigger::Chance { ppb: 1_000_000 });
        assert_eq!(plan.to_string(), text);
    }

    #[test]
    fn wrong_text_is_told_in_a_sentence() {
        let cases = [
            ("bitrot", "unknown fault `bitrot`; known are read-error"),
            ("bit-rot often", "`often` says nothing about a bit-rot; known are once"),
            ("bit-rot zone=x", "`zone` cannot be `x`"),
            ("bit-rot structure=heap", "`structure` cannot be `heap`; known are superblock"),
            ("bit-rot p=1.5", "`p` cannot be `1.5`"),
            ("bit-rot at=noon", "`at` cannot be `noon`"),
            ("bit-rot at=time:5h", "`at` cannot be `time:5h`"),
            ("bit-rot 0x", "this bit-rot makes no sense: a rule acts at least once"),
            ("bit-rot zone=1 lba=2", "a bit-rot has two words for where"),
            ("power-cut growing", "this power-cut makes no sense: only faults of blocks grow"),
            ("sync-lie lba=1", "this sync-lie makes no sense: syncs and power have no blocks"),
        ];
        for (text, start) in cases {
            let error = text.parse::<FaultPlan>().unwrap_err().to_string();
            assert!(error.starts_with(start), "{text}: {error}");
            assert!(!error.contains('\n') && !error.ends_with('.'), "{error}");
        }
    }
}
