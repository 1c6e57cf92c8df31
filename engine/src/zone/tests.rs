//! What a table of zones does by itself: use, extents, resources, pins.

use shingle_hal::{BlockCount, ElementId};

use super::*;

/// A table of zones with these capacities, as of a device that reports each as empty.
fn with_table<T>(capacities: &[u32], run: impl FnOnce(&mut Zones<'_>) -> T) -> T {
    let mut memory = vec![0; memory_len(capacities.len())];
    let mut zones = Zones::new(&mut memory, capacities.len() as u32, 64);
    for (id, &capacity) in (0..).zip(capacities) {
        let descriptor = ZoneDescriptor {
            zone: ZoneId(id),
            zone_type: ZoneType::SequentialRequired,
            condition: ZoneCondition::Empty,
            start: Lba(u64::from(id) * 64),
            capacity: BlockCount(capacity),
            write_pointer: BlockCount(0),
            element: ElementId(0),
        };
        zones.describe(&descriptor, 64);
    }
    run(&mut zones)
}

#[test]
fn zone_of_half_the_largest_is_used_and_a_smaller_one_is_not() {
    with_table(&[64, 32, 31, 64], |zones| {
        zones.end_load();
        assert_eq!((zones.free_count(), zones.capacity_min()), (3, 32));
        // A zone may shrink while it is in use.
        for (id, left, role) in [(1, 32, Role::Free), (0, 31, Role::Retired)] {
            let id = zones.take_this(ZoneId(id), Role::Log);
            zones.get_mut(id).capacity = U32::new(left);
            zones.release(id);
            assert_eq!(zones.get(id).role(), Role::Releasing);
            zones.freed(id);
            assert_eq!(zones.get(id).role(), role, "of {left} blocks");
        }
        assert_eq!(zones.free_count(), 2);
    });
}

#[test]
fn zone_goes_on_in_another_that_is_no_others_yet() {
    with_table(&[64; 4], |zones| {
        assert!(zones.extend_known(ZoneId(0), 10, ZoneId(1)));
        assert!(!zones.extend_known(ZoneId(2), 10, ZoneId(1)), "it is zone 0's");
        assert!(!zones.extend_known(ZoneId(2), 10, ZoneId(2)), "in itself");
        assert!(!zones.extend_known(ZoneId(2), 65, ZoneId(3)), "behind its end");
        assert!(zones.extend_known(ZoneId(2), 64, ZoneId(3)));
    });
}

/// Zones refer to another for two reasons: a copy of a run, and where a log goes on.
#[test]
fn twin_and_extension_are_told_apart_also_while_they_are_given_back() {
    with_table(&[64; 4], |zones| {
        zones.end_load();
        zones.install(ZoneId(0), 5, Role::Run);
        zones.install(ZoneId(1), 6, Role::Twin);
        assert!(zones.set_twin(ZoneId(0), ZoneId(1)));
        zones.install(ZoneId(2), 7, Role::Log);
        zones.get_mut(ZoneId(2)).written = U32::new(9);
        zones.install(ZoneId(3), 8, Role::Extension);
        assert!(zones.extend_known(ZoneId(2), 9, ZoneId(3)));
        for _ in 0..2 {
            assert_eq!(zones.twin(ZoneId(0)), Some(ZoneId(1)));
            assert_eq!(zones.extension(ZoneId(0)), None);
            assert_eq!(zones.extension(ZoneId(2)), Some((9, ZoneId(3))));
            assert_eq!(zones.twin(ZoneId(2)), None);
            zones.get_mut(ZoneId(1)).set_role(Role::Releasing);
            zones.get_mut(ZoneId(3)).set_role(Role::Releasing);
        }
    });
}

#[test]
fn zone_is_installed_once_and_again_only_as_it_is() {
    with_table(&[64; 3], |zones| {
        zones.end_load();
        assert!(zones.install_known(ZoneId(0), 5, Role::Log));
        assert!(zones.install_known(ZoneId(0), 5, Role::Log), "as it is");
        assert!(!zones.install_known(ZoneId(0), 6, Role::Log), "of another generation");
        assert!(!zones.install_known(ZoneId(0), 5, Role::Run), "in another role");
        assert!(!zones.install_known(ZoneId(1), 5, Role::Log), "with another's generation");
        assert_eq!((zones.free_count(), zones.find(5)), (2, Some(ZoneId(0))));
    });
}

#[test]
fn zone_of_just_the_capacity_wanted_is_found() {
    with_table(&[64, 48, 48], |zones| {
        zones.end_load();
        let taken = zones.take_this(ZoneId(0), Role::Log);
        assert_eq!(zones.find_free_of(Role::Log, None, 49), None);
        assert_eq!(zones.find_free_of(Role::Log, None, 48), Some(ZoneId(1)));
        zones.release(taken);
    });
}

#[test]
fn first_entry_in_memory_brings_a_dead_zone_to_life() {
    with_table(&[64; 2], |zones| {
        zones.end_load();
        zones.install(ZoneId(0), 5, Role::Log);
        assert!(!zones.add_live_mem(9, 1), "nobody's generation");
        assert!(zones.add_live_mem(5, 10));
        assert!(!zones.add_live_mem(5, 10), "it lives already");
        assert!(!zones.add_live_mem(5, -20));
        zones.get_mut(ZoneId(0)).live = U32::new(1);
        assert!(!zones.add_live_mem(5, 10), "by what runs refer to");
    });
}

#[test]
fn resource_of_an_abandoned_zone_is_given_back_once() {
    with_table(&[64; 3], |zones| {
        for (id, role, given_back) in
            [(0, Role::Run, true), (1, Role::Twin, true), (2, Role::Log, false)]
        {
            let id = zones.take_this(ZoneId(id), role);
            assert!(!zones.get_mut(id).take_abandoned());
            zones.get_mut(id).set_abandoned(true);
            assert_eq!(zones.get_mut(id).take_abandoned(), given_back, "{role:?}");
            assert!(!zones.get_mut(id).take_abandoned());
        }
    });
}

#[test]
fn pins_are_cleared_together() {
    with_table(&[64; 2], |zones| {
        zones.get_mut(ZoneId(1)).set_pinned(true);
        assert!(!zones.get(ZoneId(0)).is_pinned() && zones.get(ZoneId(1)).is_pinned());
        zones.clear_pins();
        assert!(!zones.get(ZoneId(1)).is_pinned());
    });
}

#[test]
fn generations_in_turn_have_homes_apart() {
    let homes = (1..=64).map(|generation| Zones::home(generation, 127));
    let homes: std::collections::BTreeSet<_> = homes.collect();
    assert!(homes.len() > 48, "{homes:?}");
}
