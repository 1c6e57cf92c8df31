//! Which plans a store must survive without losing an acknowledged operation.
//!
//! The rules are judged by what they may hit, not by what they did hit: a plan is within the budget
//! only if no choice of its seed leads out of it.

use super::plan::{FaultKind, FaultPlan, Rule, Scope, Structure, Times};

/// What may be asked of a store under a plan; see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// No acknowledged operation may be lost but for values that are physically gone.
    Within,
    /// Errors, but never wrong data, a panic, or a request that never ends.
    Beyond,
}

/// What a rule costs at most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Nothing is lost: the request is tried again, or what it should write goes elsewhere.
    Nothing,
    /// Values.
    Values,
    /// One copy of the superblocks, or one of the manifest.
    Copy(Structure),
    /// More than there is a copy of.
    More,
}

impl FaultPlan {
    /// Whether a store must survive this.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let mut copies = Vec::new();
        // A copy in a zone that is not written any more is no copy of what comes later.
        let ends_copies = self.rules.iter().any(|rule| rule.kind == FaultKind::ZoneReadOnly);
        for rule in &self.rules {
            match rule.cost() {
                Cost::Nothing | Cost::Values => {}
                // Two rules for one structure may hit a copy each.
                Cost::Copy(structure) if !ends_copies && !copies.contains(&structure) => {
                    copies.push(structure);
                }
                Cost::Copy(_) | Cost::More => return Budget::Beyond,
            }
        }
        Budget::Within
    }
}

impl Rule {
    fn cost(&self) -> Cost {
        match self.kind {
            FaultKind::SlowRead
            | FaultKind::ElementSlow
            | FaultKind::TransientError
            | FaultKind::Timeout
            | FaultKind::WriteError
            | FaultKind::PointerAfterPower
            | FaultKind::PointerAfterReset
            | FaultKind::CapacityShrink
            | FaultKind::ZoneReadOnly
            // A sync that fails says so.
            | FaultKind::SyncError
            | FaultKind::PowerCut => Cost::Nothing,
            FaultKind::SyncLie | FaultKind::MisdirectedWrite => Cost::More,
            FaultKind::ReadError | FaultKind::BitRot | FaultKind::StaleRead => match self.scope {
                // What grows leaves the value it began in.
                _ if self.times == Times::Growing => self.cost_of_copy(),
                Scope::Structure(Structure::Value) => Cost::Values,
                _ => self.cost_of_copy(),
            },
            // A write is longer than the block for which the rule fits.
            FaultKind::TornWrite
            | FaultKind::LostWrite
            | FaultKind::ZoneOffline
            | FaultKind::ElementLost => self.cost_of_copy(),
        }
    }

    fn cost_of_copy(&self) -> Cost {
        match self.scope {
            Scope::Structure(copied @ (Structure::Superblock | Structure::Manifest))
                if self.kind != FaultKind::ElementLost =>
            {
                Cost::Copy(copied)
            }
            _ => Cost::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_of_each_plan_is_as_listed() {
        let cases = [
            ("", Budget::Within),
            ("bit-rot sticky structure=value p=0.1; read-error sticky structure=value", {
                Budget::Within
            }),
            ("slow-read 9x; timeout p=0.01; write-error sticky; power-cut p=0.1", Budget::Within),
            ("zone-offline structure=superblock; bit-rot structure=manifest", Budget::Within),
            ("zone-read-only 4x; torn-write structure=superblock", Budget::Beyond),
            ("lost-write structure=manifest; read-error sticky structure=manifest", {
                Budget::Beyond
            }),
            ("bit-rot growing structure=value", Budget::Beyond),
            ("zone-offline zone=3", Budget::Beyond),
            ("sync-lie", Budget::Beyond),
            ("element-lost element=0", Budget::Beyond),
        ];
        for (text, budget) in cases {
            assert_eq!(text.parse::<FaultPlan>().unwrap().budget(), budget, "{text}");
        }
    }
}
