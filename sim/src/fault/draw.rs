//! Plans at random, for torture, and plans by name.

use shingle_hal::{ElementId, Extent, Geometry, Lba, ZoneId};

use super::plan::{
    FaultKind as K, FaultPlan, PPB_ALWAYS, Rule, STRUCTURES, Scope, Structure, Times, Trigger,
};
use crate::harness::choices::Choices;

/// Most rules of a plan that was drawn.
const RULES_MAX: u64 = 6;
/// Requests within which a drawn rule comes due.
const REQUESTS_MAX: u64 = 2_000;
/// Virtual time within which a drawn rule comes due.
const TIME_MS_MAX: u64 = 20_000;
/// The probability that goes with one step of intensity.
const PPB_STEP: u64 = 1_000_000;

/// Kinds that are drawn more often than others, so that many seeds have much of each: those that
/// strike once, or only at requests that are few.
const RARE: [(K, usize); 16] = [
    (K::PointerAfterPower, 6),
    (K::PointerAfterReset, 6),
    (K::ElementLost, 4),
    (K::WriteError, 3),
    (K::ZoneOffline, 3),
    (K::ElementSlow, 3),
    (K::CapacityShrink, 3),
    (K::LostWrite, 2),
    (K::MisdirectedWrite, 2),
    (K::ZoneReadOnly, 2),
    (K::PowerCut, 2),
    (K::BitRot, 2),
    (K::SyncLie, 2),
    (K::TornWrite, 2),
    (K::Timeout, 2),
    (K::TransientError, 2),
];

/// What an element does when it fails, but for lies: a sync that lies, and a write that lands
/// elsewhere, hit other elements.
const OF_ELEMENT: [K; 12] = [
    K::ReadError,
    K::SlowRead,
    K::WriteError,
    K::TornWrite,
    K::LostWrite,
    K::BitRot,
    K::StaleRead,
    K::ZoneReadOnly,
    K::ZoneOffline,
    K::ElementLost,
    K::ElementSlow,
    K::Timeout,
];

/// The plans that have a name.
const PRESETS: [(&str, &str); 8] = [
    ("reads", "read-error sticky structure=value p=0.002; read-error 5x p=0.01; slow-read p=0.01"),
    ("writes", "write-error 20x p=0.01; timeout 5x p=0.005; transient-error 50x p=0.01"),
    ("zones", "zone-read-only 2x p=0.001; zone-offline p=0.001; capacity-shrink 3x p=0.2"),
    ("elements", "element-slow at=request:50; element-lost at=request:300"),
    (
        "silent",
        "bit-rot 10x structure=value p=0.01; torn-write 2x p=0.002; lost-write 2x p=0.002; \
         misdirected-write p=0.002; stale-read 5x p=0.005",
    ),
    ("sync", "sync-error 3x p=0.02; sync-lie 3x p=0.02; power-cut 2x p=0.001"),
    (
        "pointers",
        "pointer-after-power sticky p=0.5; pointer-after-reset 5x p=0.2; power-cut 3x p=0.001",
    ),
    (
        "mixed",
        "read-error 3x p=0.005; slow-read 20x p=0.01; write-error 5x p=0.005; \
         bit-rot 3x structure=value p=0.005; transient-error 20x p=0.005; timeout 3x p=0.002; \
         pointer-after-power 3x p=0.5; pointer-after-reset 3x p=0.1; sync-error p=0.01; \
         zone-read-only p=0.0005",
    ),
];

/// Structures that lie in values or have a second copy.
const SPARED: [Structure; 3] = [Structure::Value, Structure::Superblock, Structure::Manifest];

impl FaultPlan {
    /// The plan known as `name`, one of [`preset_names`](Self::preset_names).
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let (_, text) = PRESETS.iter().find(|(known, _)| *known == name)?;
        text.parse().ok()
    }

    /// The names of all plans that have one.
    #[must_use]
    pub fn preset_names() -> Vec<&'static str> {
        PRESETS.iter().map(|(name, _)| *name).collect()
    }

    /// A plan at random for a drive of this geometry. With an `intensity` of 1 it has one rule that
    /// strikes at most one request in a thousand; at 100 there are up to six, and what is left to
    /// chance strikes up to a tenth of the requests that it fits.
    #[must_use]
    pub fn draw(choices: &mut Choices, geometry: &Geometry, intensity: u32) -> Self {
        let count = choices.between(1, RULES_MAX.min(1 + u64::from(intensity) / 10));
        let rules = (0..count).map(|_| draw_rule(choices, geometry, intensity));
        Self { rules: rules.collect() }
    }

    /// A plan at random that is [within the budget](super::Budget::Within).
    #[must_use]
    pub fn draw_within_budget(choices: &mut Choices, geometry: &Geometry, intensity: u32) -> Self {
        let mut plan = Self::draw(choices, geometry, intensity);
        for at in (0..plan.rules.len()).rev() {
            if plan.budget_from(at) == super::Budget::Within {
                continue;
            }
            // The same fault where it costs least, and if that is still too much, none of it.
            let rule = &mut plan.rules[at];
            rule.scope = Scope::Structure(choices.pick(&SPARED));
            if rule.times == Times::Growing {
                rule.times = Times::Sticky;
            }
            if rule.nonsense().is_some() || plan.budget_from(at) == super::Budget::Beyond {
                plan.rules.remove(at);
            }
        }
        plan
    }

    /// A plan at random that hits nothing but one storage element.
    #[must_use]
    pub fn draw_on_element(choices: &mut Choices, element: ElementId, intensity: u32) -> Self {
        let count = choices.between(1, RULES_MAX.min(1 + u64::from(intensity) / 10));
        let rule = |_| loop {
            let rule = Rule {
                kind: choices.pick(&OF_ELEMENT),
                times: match choices.below(8) {
                    0 => Times::Sticky,
                    1 => Times::Growing,
                    _ => Times::Times(choices.magnitude(1 + u64::from(intensity)) as u32),
                },
                scope: Scope::Element(element),
                trigger: match choices.below(2) {
                    0 => Trigger::Request(choices.magnitude(REQUESTS_MAX)),
                    _ => {
                        let ppb = PPB_STEP * choices.magnitude(u64::from(intensity.max(1)));
                        Trigger::Chance { ppb: ppb.min(PPB_ALWAYS.into()) as u32 }
                    }
                },
            };
            let endless = rule.times == Times::Sticky && !rule.kind.hits_blocks();
            if rule.nonsense().is_none() && !endless {
                return rule;
            }
        };
        Self { rules: (0..count).map(rule).collect() }
    }

    /// The budget of the rules from `at` on.
    fn budget_from(&self, at: usize) -> super::Budget {
        Self { rules: self.rules[at..].to_vec() }.budget()
    }
}

fn draw_rule(choices: &mut Choices, geometry: &Geometry, intensity: u32) -> Rule {
    let kind = draw_kind(choices);
    loop {
        let rule = Rule {
            kind,
            times: match choices.below(8) {
                0 => Times::Sticky,
                1 => Times::Growing,
                2..=4 => Times::Times(1),
                _ => Times::Times(choices.magnitude(1 + u64::from(intensity)) as u32),
            },
            scope: draw_scope(choices, geometry),
            trigger: match choices.below(12) {
                0..4 => Trigger::Request(choices.magnitude(REQUESTS_MAX)),
                4 => Trigger::Time { ns: choices.magnitude(TIME_MS_MAX) * 1_000_000 },
                _ => {
                    let ppb = PPB_STEP * choices.magnitude(u64::from(intensity.max(1)));
                    Trigger::Chance { ppb: ppb.min(PPB_ALWAYS.into()) as u32 }
                }
            },
        };
        // What strikes everywhere for ever leaves nothing to test.
        let endless = rule.times == Times::Sticky && !rule.kind.hits_blocks();
        let bounded = rule.kind == K::PointerAfterPower || matches!(rule.scope, Scope::Zone(_));
        if rule.nonsense().is_none() && (!endless || bounded) {
            return rule;
        }
    }
}

/// A kind; those that a plan seldom gets to more often than others, see [`RARE`].
fn draw_kind(choices: &mut Choices) -> K {
    let kinds: Vec<K> = K::all().flat_map(|kind| [kind].repeat(weight(kind))).collect();
    choices.pick(&kinds)
}

fn weight(kind: K) -> usize {
    RARE.iter().find(|(rare, _)| *rare == kind).map_or(1, |(_, weight)| *weight)
}

fn draw_scope(choices: &mut Choices, geometry: &Geometry) -> Scope {
    let lba = Lba(choices.below(geometry.end().0));
    match choices.below(16) {
        0 => Scope::Lba(lba),
        1 | 2 => {
            let left = geometry.zone_blocks - (lba.0 % u64::from(geometry.zone_blocks)) as u32;
            Scope::Extent(Extent::new(lba, choices.magnitude(left.into()) as u32))
        }
        3 | 4 => Scope::Zone(ZoneId(choices.below(geometry.zone_count.into()) as u32)),
        5 | 6 => Scope::Element(ElementId(choices.below(geometry.element_count.into()) as u16)),
        7..11 => {
            let structures = STRUCTURES.map(|(structure, _)| structure);
            Scope::Structure(choices.pick(&structures))
        }
        _ => Scope::Anywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Budget;

    const GEOMETRY: Geometry = Geometry {
        block_len_bytes: 512,
        zone_count: 30,
        zone_blocks: 64,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 16,
        buffer_align_bytes: 1,
        element_count: 3,
    };

    #[test]
    fn presets_are_plans() {
        for name in FaultPlan::preset_names() {
            let plan = FaultPlan::preset(name).unwrap_or_else(|| panic!("{name} is no plan"));
            assert!(!plan.rules.is_empty(), "{name}");
        }
        assert_eq!(FaultPlan::preset("nothing"), None);
    }

    #[test]
    fn drawn_plans_have_every_kind_and_are_read_back() {
        let mut choices = Choices::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..2000 {
            let plan = FaultPlan::draw(&mut choices, &GEOMETRY, round % 120);
            seen.extend(plan.rules.iter().map(|rule| rule.kind));
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert_eq!(seen.len(), K::all().count());
    }

    #[test]
    fn plans_drawn_within_the_budget_are_within_it() {
        let mut choices = Choices::new(2);
        let mut rules = 0;
        for round in 0..2000 {
            let plan = FaultPlan::draw_within_budget(&mut choices, &GEOMETRY, round % 120);
            assert_eq!(plan.budget(), Budget::Within, "{plan}");
            assert!(plan.rules.iter().all(|rule| rule.nonsense().is_none()), "{plan}");
            rules += plan.rules.len();
        }
        assert!(rules > 2000, "{rules}");
    }
}
