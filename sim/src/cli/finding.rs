//! What a scrub found, in words and as JSON.

use serde_json::{Value, json};
use shingle_engine::{Check, Finding, Origin, Remedy};

/// Which structure it is, and where.
pub(super) fn place(one: &Finding) -> String {
    format!("{} at {} in {}, element {}", one.structure, one.extent, one.zone, one.element.0)
}

/// What is wrong with it, as far as is known why, and what becomes of it.
pub(super) fn fault(one: &Finding) -> String {
    let check = match one.check {
        Check::Checksum { .. } => "its checksum does not hold",
        Check::Malformed => "its contents make no sense",
        Check::OtherKey => "it is the value of another key",
        Check::Unreadable(_) => "the drive cannot read it",
    };
    let origin = match one.origin {
        Origin::Unread => String::new(),
        Origin::Nobody => " (it changed, or its write was torn)".to_owned(),
        Origin::Zeros => " (zeros: it was never written)".to_owned(),
        Origin::EarlierLife { generation } => {
            format!(" (it is from an earlier life of the zone, generation {generation})")
        }
        Origin::OtherPlace { zone, block } => {
            format!(" (it was written for block {block} of {zone})")
        }
    };
    let remedy = match one.remedy {
        Remedy::Copy => "written anew from another copy",
        Remedy::Memory => "written anew from memory",
        Remedy::Dead => "nothing refers to it",
        Remedy::None => "there is no other copy",
    };
    format!("{check}{origin}; {remedy}")
}

/// The same for a program.
pub(super) fn document(one: &Finding) -> Value {
    json!({
        "lba": one.extent.start.0,
        "blocks": one.extent.count.0,
        "zone": one.zone.0,
        "element": one.element.0,
        "structure": one.structure.to_string(),
        "check": format!("{:?}", one.check),
        "origin": format!("{:?}", one.origin),
        "remedy": format!("{:?}", one.remedy),
    })
}
