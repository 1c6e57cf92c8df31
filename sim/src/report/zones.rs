//! What each zone is used for: role, fill and liveness, from the store and from the drive.

use std::fmt::Display;

use serde_json::{Value, json};
use shingle_engine::Store;
use shingle_engine::zone::Role;
use shingle_hal::{Device, ZoneCondition, ZoneDescriptor, ZoneId};

use crate::cli::Failure;

/// Every role in the order of legends.
pub(crate) const ROLES: [Role; 13] = [
    Role::Anchor,
    Role::Manifest,
    Role::Log,
    Role::LogMirror,
    Role::Cold,
    Role::Extension,
    Role::Parity,
    Role::Run,
    Role::Bottom,
    Role::Twin,
    Role::Releasing,
    Role::Retired,
    Role::Free,
];

/// One zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneView {
    /// Its number.
    pub(crate) zone: u32,
    /// What for.
    pub(crate) role: Role,
    /// Which use of the zone this is; 0 for a free one.
    pub(crate) generation: u32,
    /// Whether something is being appended.
    pub(crate) head: bool,
    /// Its state at the drive.
    pub(crate) condition: ZoneCondition,
    /// Bytes it can take.
    pub(crate) capacity_bytes: u64,
    /// Bytes written since its last reset; what a conventional zone in use can take.
    pub(crate) written_bytes: u64,
    /// Bytes that something refers to.
    pub(crate) live_bytes: u64,
}

/// The name of a role in pictures and JSON.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Free => "free",
        Role::Anchor => "anchor",
        Role::Manifest => "manifest",
        Role::Log => "log",
        Role::Cold => "cold",
        Role::Run => "run",
        Role::Bottom => "bottom",
        Role::Retired => "retired",
        Role::Releasing => "releasing",
        Role::Extension => "extension",
        Role::Twin => "twin",
        Role::Parity => "parity",
        Role::LogMirror => "log mirror",
    }
}

impl ZoneView {
    /// How much of the zone is written, 0 to 1.
    pub(crate) fn fill(&self) -> f64 {
        self.written_bytes as f64 / self.capacity_bytes.max(1) as f64
    }

    /// How much of the zone something refers to, 0 to 1. Anchors and manifests always count whole.
    pub(crate) fn live(&self) -> f64 {
        match self.role {
            Role::Anchor
            | Role::Manifest
            | Role::Extension
            | Role::Twin
            | Role::Parity
            | Role::LogMirror => self.fill(),
            _ => (self.live_bytes as f64 / self.capacity_bytes.max(1) as f64).min(1.0),
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "zone": self.zone,
            "role": role_name(self.role),
            "generation": self.generation,
            "head": self.head,
            "condition": format!("{:?}", self.condition),
            "capacity_bytes": self.capacity_bytes,
            "written_bytes": self.written_bytes,
            "live_bytes": self.live_bytes,
        })
    }
}

/// Asks store and drive about every zone.
pub(crate) async fn collect<D: Device<Error: Display>>(
    store: &Store<'_, D>,
) -> Result<Vec<ZoneView>, Failure> {
    let device = store.device();
    let geometry = device.geometry();
    let block_len = u64::from(geometry.block_len_bytes);
    let mut views = Vec::with_capacity(geometry.zone_count as usize);
    let mut descriptors = vec![ZoneDescriptor::EMPTY; 512];
    while (views.len() as u32) < geometry.zone_count {
        let first = ZoneId(views.len() as u32);
        let count = device.report(first, &mut descriptors).await;
        let count = count.map_err(|error| Failure::new(error.to_string()))?;
        for descriptor in &descriptors[..count] {
            let Some(used) = store.zone_use(descriptor.zone) else {
                continue;
            };
            let capacity_bytes = u64::from(descriptor.capacity.0) * block_len;
            let conventional = descriptor.condition == ZoneCondition::NotWritePointer;
            let written_bytes = match (conventional, used.role) {
                (true, Role::Free | Role::Retired) => 0,
                (true, _) => capacity_bytes,
                (false, _) => u64::from(descriptor.write_pointer.0) * block_len,
            };
            views.push(ZoneView {
                zone: descriptor.zone.0,
                role: used.role,
                generation: used.generation,
                head: used.head,
                condition: descriptor.condition,
                capacity_bytes,
                written_bytes,
                live_bytes: used.live_bytes,
            });
        }
        if count == 0 {
            return Err(Failure::new("the drive reports fewer zones than it has"));
        }
    }
    Ok(views)
}

/// Neighbouring zones drawn as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// The role that most of them have, free ones aside.
    pub(crate) role: Role,
    /// Mean fill.
    pub(crate) fill: f64,
    /// Mean liveness.
    pub(crate) live: f64,
    /// Whether one is being appended to.
    pub(crate) head: bool,
    /// The first zone.
    pub(crate) first: u32,
    /// How many zones.
    pub(crate) count: u32,
}

/// At most `cells_max` cells for all zones, each of as many zones but the last.
pub(crate) fn cells(views: &[ZoneView], cells_max: usize) -> Vec<Cell> {
    let each = views.len().div_ceil(cells_max.max(1)).max(1);
    views.chunks(each).map(cell).collect()
}

fn cell(views: &[ZoneView]) -> Cell {
    let count = |role: &Role| views.iter().filter(|view| view.role == *role).count();
    let used = ROLES[..ROLES.len() - 1].iter().max_by_key(|role| count(role));
    let role = used.filter(|role| count(role) > 0).copied().unwrap_or(Role::Free);
    let len = views.len() as f64;
    Cell {
        role,
        fill: views.iter().map(ZoneView::fill).sum::<f64>() / len,
        live: views.iter().map(ZoneView::live).sum::<f64>() / len,
        head: views.iter().any(|view| view.head),
        first: views[0].zone,
        count: views.len() as u32,
    }
}

/// Figures of all zones of one role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoleSum {
    /// The role.
    pub(crate) role: Role,
    /// How many zones.
    pub(crate) zones: u32,
    /// Mean fill.
    pub(crate) fill: f64,
    /// Live share of what is written.
    pub(crate) live: f64,
}

/// One line for each role that is there.
pub(crate) fn sums(views: &[ZoneView]) -> Vec<RoleSum> {
    let sum = |role: Role| {
        let of: Vec<&ZoneView> = views.iter().filter(|view| view.role == role).collect();
        let capacity: u64 = of.iter().map(|view| view.capacity_bytes).sum();
        let written: u64 = of.iter().map(|view| view.written_bytes).sum();
        let live: f64 = of.iter().map(|view| view.live() * view.capacity_bytes as f64).sum();
        RoleSum {
            role,
            zones: of.len() as u32,
            fill: written as f64 / capacity.max(1) as f64,
            live: (live / written.max(1) as f64).min(1.0),
        }
    };
    ROLES.into_iter().map(sum).filter(|sum| sum.zones > 0).collect()
}
