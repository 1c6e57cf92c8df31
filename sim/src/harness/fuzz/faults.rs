//! Operations and power cuts under a plan of faults: the bytes give the drive, up to six rules, and
//! what the operations are drawn from.
//!
//! The body and what it asks of a store are [`faulted`]'s. A rule that makes no sense is left out.

use arbitrary::{Arbitrary, Unstructured};
use shingle_hal::{Device, ElementId, Extent, Geometry, Lba, ZoneId};

use super::target::{BYTES_MAX, some_bytes};
use crate::fault::{FaultKind, FaultPlan, PPB_ALWAYS, Rule, Scope, Structure, Times, Trigger};
use crate::harness::choices::Choices;
use crate::harness::fault_campaign::MEDIA;
use crate::harness::faulted::run_bytes;
use crate::media::MediaSpec;

/// Most rules of an input.
const RULES_MAX: u8 = 6;
/// Operations that one input decides.
const OPS: u64 = 200;
/// Requests within which a rule comes due.
const REQUESTS_MAX: u64 = 2_000;
/// Most that a rule strikes but for what sticks.
const TIMES_MAX: u32 = 40;
/// Bytes of a rule, and of what stands before the rules.
const RULE_LEN: usize = 12;
const HEAD_LEN: usize = 3;

/// What comes before the rules.
#[derive(Arbitrary, Debug)]
struct Head {
    media: u8,
    rules: u8,
    /// Below a quarter: all rules lie on this element, modulo their number.
    element: u8,
}

/// A rule in bytes.
#[derive(Arbitrary, Debug)]
struct Draft {
    kind: u8,
    times: u8,
    scope: u8,
    trigger: u8,
    place: u32,
    number: u32,
}

impl Draft {
    fn rule(&self, geometry: &Geometry, element: Option<ElementId>) -> Option<Rule> {
        let kinds: Vec<FaultKind> = FaultKind::all().collect();
        let kind = kinds[usize::from(self.kind) % kinds.len()];
        let lba = Lba(u64::from(self.place) % geometry.end().0);
        let in_zone = lba.0 % u64::from(geometry.zone_blocks);
        let structures = [
            Structure::Superblock,
            Structure::Manifest,
            Structure::RunIndex,
            Structure::RunData,
            Structure::LogRecord,
            Structure::Value,
        ];
        let scope = match self.scope % 16 {
            0 => Scope::Lba(lba),
            1 => {
                let left = geometry.zone_blocks - in_zone as u32;
                Scope::Extent(Extent::new(lba, 1 + self.number % left))
            }
            2 | 3 => Scope::Zone(ZoneId(self.place % geometry.zone_count)),
            4 => Scope::Element(ElementId((self.place % u32::from(geometry.element_count)) as u16)),
            5..10 => Scope::Anywhere,
            _ => Scope::Structure(structures[self.place as usize % structures.len()]),
        };
        let times = match self.times % 8 {
            0 => Times::Sticky,
            1 => Times::Growing,
            2..5 => Times::Times(1),
            _ => Times::Times(1 + u32::from(self.times) % TIMES_MAX),
        };
        let trigger = match self.trigger % 2 {
            0 => Trigger::Request(u64::from(self.number) % REQUESTS_MAX),
            _ => Trigger::Chance { ppb: self.number % (PPB_ALWAYS / 16) },
        };
        let scope = element.map_or(scope, Scope::Element);
        let rule = Rule { kind, times, scope, trigger };
        // Lies hit other elements, too; and what strikes everywhere for ever leaves nothing to try.
        let strays = matches!(kind, FaultKind::SyncLie | FaultKind::MisdirectedWrite);
        let endless = times == Times::Sticky && !kind.hits_blocks();
        let fits = rule.nonsense().is_none() && !endless && !(strays && element.is_some());
        fits.then_some(rule)
    }
}

/// The input of a seed.
pub(super) fn input(seed: u64) -> Vec<u8> {
    let mut bytes = some_bytes(seed, 400);
    bytes.resize(bytes.len().max(HEAD_LEN + RULE_LEN), 0x55);
    bytes[0] = seed as u8;
    bytes
}

/// Runs the operations of an input under its plan.
pub(super) fn run(bytes: &[u8]) -> Result<(), String> {
    let mut bytes = Unstructured::new(bytes);
    let Ok(head) = Head::arbitrary(&mut bytes) else { return Ok(()) };
    let media = MEDIA[usize::from(head.media) % MEDIA.len()];
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let geometry = crate::Drive::new(spec, 0).geometry();
    let count = u16::from(head.element);
    let element = (geometry.element_count > 1 && count < 64)
        .then(|| ElementId(count % geometry.element_count));
    let mut plan = FaultPlan::default();
    for _ in 0..head.rules % (RULES_MAX + 1) {
        let Ok(draft) = Draft::arbitrary(&mut bytes) else { break };
        plan.rules.extend(draft.rule(&geometry, element));
    }
    let choices = Choices::from_bytes(0, bytes.take_rest().to_vec());
    let result = run_bytes(media, &plan, element.is_some(), choices, OPS, BYTES_MAX);
    result.map(|_| ()).map_err(|what| format!("on {media} under `{plan}`: {what}"))
}
