//! The list of checks, and what runs one by its place in the list.
//!
//! The list is written once; the macro makes of it the public table, and the dispatch from an
//! entry to the generic function that performs it (a table cannot hold generic functions).

use super::limits::{self, Release};
use super::outcome::Outcome;
use super::refusals::{self, Length, Way};
use super::rig::{Bench, Checked, Rig, Stop, Verb};
use super::{data, power, reports, transitions};
use crate::zone::ZoneCondition as From;

/// One clause of the contract that can be tried on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Check {
    /// Its name, a claim; unique in [`CHECKS`].
    pub name: &'static str,
    /// The clause of the contract.
    pub clause: &'static str,
    /// The subject: the file of this folder that holds it.
    pub subject: &'static str,
    id: Id,
}

/// The check called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name == name)
}

/// Tries `check` on the device of `bench`. **Destroys what the device holds.**
///
/// # Panics
/// If `scratch` is shorter than [`scratch_len_bytes`](super::scratch_len_bytes) of the device's
/// geometry.
///
/// # Cost
/// A reset for every sequential zone that is not empty, then a few requests; checks that fill a
/// zone write its whole capacity. The future takes some 12 KiB.
pub async fn run<B: Bench>(bench: &mut B, check: &Check, scratch: &mut [u8]) -> Outcome {
    let mut rig = Rig::new(bench, scratch);
    match prepared(check, &mut rig).await {
        Ok(()) => Outcome::Passed,
        Err(Stop::Skip(why)) => Outcome::Skipped(why),
        Err(Stop::Fail(failure)) => Outcome::Failed(failure),
    }
}

/// Runs `check` on a device of sane geometry whose sequential zones are empty; the checks divide
/// and count by the geometry, so nothing else is tried on a device that fails there.
async fn prepared<B: Bench>(check: &Check, rig: &mut Rig<'_, B>) -> Checked {
    reports::geometry_sane(rig).await?;
    rig.clear().await?;
    dispatch(check.id, rig).await
}

macro_rules! table {
    ($($name:ident, $clause:literal, $subject:ident :: $call:ident ($($arg:expr),*);)*) => {
        /// Which check; named as it is.
        #[allow(non_camel_case_types)] // the names are those of the checks
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        enum Id { $($name,)* }

        /// All checks.
        pub static CHECKS: &[Check] = &[$(Check {
            name: stringify!($name),
            clause: $clause,
            subject: stringify!($subject),
            id: Id::$name,
        },)*];

        /// Runs the check on a cleared device.
        async fn dispatch<B: Bench>(id: Id, rig: &mut Rig<'_, B>) -> Checked {
            match id {
                $(Id::$name => $subject::$call(rig, $($arg),*).await,)*
            }
        }
    };
}

table! {
    open_empty_zone_is_explicit_open,
        "Open of an empty zone leaves it explicitly open.",
        transitions::by_verb(From::Empty, Verb::Open, From::ExplicitOpen);
    open_implicit_open_zone_is_explicit_open,
        "Open of an implicitly open zone leaves it explicitly open.",
        transitions::by_verb(From::ImplicitOpen, Verb::Open, From::ExplicitOpen);
    open_explicit_open_zone_is_explicit_open,
        "Open of an explicitly open zone leaves it explicitly open.",
        transitions::by_verb(From::ExplicitOpen, Verb::Open, From::ExplicitOpen);
    open_closed_zone_is_explicit_open,
        "Open of a closed zone leaves it explicitly open.",
        transitions::by_verb(From::Closed, Verb::Open, From::ExplicitOpen);
    open_full_zone_is_full,
        "Open of a full zone leaves it full.",
        transitions::by_verb(From::Full, Verb::Open, From::Full);
    close_empty_zone_is_empty,
        "Close of an empty zone leaves it empty.",
        transitions::by_verb(From::Empty, Verb::Close, From::Empty);
    close_implicit_open_zone_is_closed,
        "Close of an implicitly open zone leaves it closed.",
        transitions::by_verb(From::ImplicitOpen, Verb::Close, From::Closed);
    close_explicit_open_zone_is_closed,
        "Close of an explicitly open zone leaves it closed.",
        transitions::by_verb(From::ExplicitOpen, Verb::Close, From::Closed);
    close_closed_zone_is_closed,
        "Close of a closed zone leaves it closed.",
        transitions::by_verb(From::Closed, Verb::Close, From::Closed);
    close_full_zone_is_full,
        "Close of a full zone leaves it full.",
        transitions::by_verb(From::Full, Verb::Close, From::Full);
    finish_empty_zone_is_full,
        "Finish of an empty zone leaves it full.",
        transitions::by_verb(From::Empty, Verb::Finish, From::Full);
    finish_implicit_open_zone_is_full,
        "Finish of an implicitly open zone leaves it full.",
        transitions::by_verb(From::ImplicitOpen, Verb::Finish, From::Full);
    finish_explicit_open_zone_is_full,
        "Finish of an explicitly open zone leaves it full.",
        transitions::by_verb(From::ExplicitOpen, Verb::Finish, From::Full);
    finish_closed_zone_is_full,
        "Finish of a closed zone leaves it full.",
        transitions::by_verb(From::Closed, Verb::Finish, From::Full);
    finish_full_zone_is_full,
        "Finish of a full zone leaves it full.",
        transitions::by_verb(From::Full, Verb::Finish, From::Full);
    reset_empty_zone_is_empty,
        "Reset of an empty zone leaves it empty.",
        transitions::by_verb(From::Empty, Verb::Reset, From::Empty);
    reset_implicit_open_zone_is_empty,
        "Reset of an implicitly open zone leaves it empty.",
        transitions::by_verb(From::ImplicitOpen, Verb::Reset, From::Empty);
    reset_explicit_open_zone_is_empty,
        "Reset of an explicitly open zone leaves it empty.",
        transitions::by_verb(From::ExplicitOpen, Verb::Reset, From::Empty);
    reset_closed_zone_is_empty,
        "Reset of a closed zone leaves it empty.",
        transitions::by_verb(From::Closed, Verb::Reset, From::Empty);
    reset_full_zone_is_empty,
        "Reset of a full zone leaves it empty.",
        transitions::by_verb(From::Full, Verb::Reset, From::Empty);
    write_empty_zone_is_implicit_open,
        "A write to an empty zone leaves it implicitly open.",
        transitions::by_write(From::Empty, From::ImplicitOpen);
    write_implicit_open_zone_is_implicit_open,
        "A write to an implicitly open zone leaves it implicitly open.",
        transitions::by_write(From::ImplicitOpen, From::ImplicitOpen);
    write_explicit_open_zone_is_explicit_open,
        "A write to an explicitly open zone leaves it explicitly open.",
        transitions::by_write(From::ExplicitOpen, From::ExplicitOpen);
    write_closed_zone_is_implicit_open,
        "A write to a closed zone leaves it implicitly open.",
        transitions::by_write(From::Closed, From::ImplicitOpen);
    write_full_zone_is_refused,
        "A write to a full zone is refused and changes nothing.",
        transitions::write_to_full();
    fill_implicit_open_zone_is_full,
        "Writing the last block of the capacity makes an implicitly open zone full.",
        transitions::filling(From::ImplicitOpen);
    fill_explicit_open_zone_is_full,
        "Writing the last block of the capacity makes an explicitly open zone full.",
        transitions::filling(From::ExplicitOpen);
    fill_closed_zone_is_full,
        "Writing the last block of the capacity makes a closed zone full.",
        transitions::filling(From::Closed);
    close_unwritten_zone_is_empty,
        "A zone that was opened but not written closes to empty.",
        transitions::close_unwritten();
    write_opened_empty_zone_is_explicit_open,
        "A write to an opened empty zone leaves it explicitly open.",
        transitions::write_opened_empty();
    opens_up_to_limit_succeed,
        "As many zones as the limit can be explicitly open.",
        limits::opens_up_to_limit();
    open_over_limit_is_refused,
        "An explicit open over the limit is refused without effect.",
        limits::open_over_limit();
    write_over_limit_is_refused,
        "A write that needs an open resource when all are explicit is refused.",
        limits::write_over_limit();
    finish_at_limit_is_all_or_nothing,
        "A finish at the limit works, or is refused without effect.",
        limits::finish_at_limit();
    open_zone_at_limit_is_usable,
        "An open zone can be opened again and written at the limit.",
        limits::open_zone_at_limit();
    close_at_limit_makes_room,
        "A close gives the open resource back.",
        limits::release_makes_room(Release::By(Verb::Close));
    finish_at_limit_makes_room,
        "A finish gives the open resource back.",
        limits::release_makes_room(Release::By(Verb::Finish));
    reset_at_limit_makes_room,
        "A reset gives the open resource back.",
        limits::release_makes_room(Release::By(Verb::Reset));
    fill_at_limit_makes_room,
        "Writing a zone full gives the open resource back.",
        limits::release_makes_room(Release::Fill);
    implicit_open_yields_to_open,
        "An implicitly open zone is closed when an open needs its resource.",
        limits::implicit_yields_to_open();
    implicit_open_yields_to_write,
        "An implicitly open zone is closed when a write needs its resource.",
        limits::implicit_yields_to_write();
    explicit_open_never_yields,
        "An explicitly open zone stays open until closed.",
        limits::explicit_never_yields();
    read_at_limit_is_served,
        "Limits never stand in the way of a read.",
        limits::read_at_limit();
    open_over_active_limit_is_refused,
        "An open of one zone more than may be active is refused.",
        limits::activate_over_limit(false);
    write_over_active_limit_is_refused,
        "A write to one zone more than may be active is refused.",
        limits::activate_over_limit(true);
    closed_zone_at_active_limit_is_usable,
        "A closed zone is active already and can be written.",
        limits::closed_zone_at_limit();
    reset_at_active_limit_makes_room,
        "A reset zone is not active.",
        limits::deactivate(Verb::Reset);
    finish_at_active_limit_makes_room,
        "A finished zone is not active.",
        limits::deactivate(Verb::Finish);
    read_returns_completed_write,
        "A read issued after a write completed returns what it wrote.",
        data::read_your_writes();
    long_transfer_writes_each_block,
        "A request of many blocks writes each to its place.",
        data::long_transfer();
    writes_in_flight_keep_order,
        "Writes to one zone take effect in the order they were issued.",
        data::writes_in_order();
    writes_to_two_zones_in_flight,
        "Writes to two zones can be in flight at once.",
        data::writes_to_two_zones();
    reads_in_flight_get_their_blocks,
        "Each of many reads in flight returns its own blocks.",
        data::reads_in_flight();
    every_class_is_served,
        "Requests of every class are served before their deadline passes.",
        data::every_class();
    dropped_request_leaves_device_usable,
        "A dropped future leaves its effect unknown, not the device.",
        data::dropped_request();
    read_leaves_zone_unchanged,
        "A read changes neither condition nor write pointer.",
        data::read_changes_nothing();
    read_of_unwritten_fails_or_means_nothing,
        "A read at the write pointer fails as such or means nothing.",
        data::read_unwritten();
    read_above_capacity_fails_or_means_nothing,
        "A read above the capacity is one of unwritten blocks.",
        data::read_above_capacity();
    reset_destroys_data,
        "What a zone held is gone after a reset.",
        data::reset_destroys();
    reset_zone_is_rewritten,
        "A reset zone is written again from its start.",
        data::reset_then_rewrite();
    close_leaves_neighbour_alone,
        "A write and a close leave other zones alone.",
        data::zones_apart(Verb::Close);
    finish_leaves_neighbour_alone,
        "A write and a finish leave other zones alone.",
        data::zones_apart(Verb::Finish);
    reset_leaves_neighbour_alone,
        "A write and a reset leave other zones alone.",
        data::zones_apart(Verb::Reset);
    conventional_zone_is_rewritten_in_place,
        "A conventional zone is written in any order and again.",
        data::conventional_rewrite();
    conventional_zone_ends_at_capacity,
        "The last block of a conventional zone is like any other.",
        data::conventional_end();
    read_of_nothing_is_refused,
        "A read of no bytes is refused without effect.",
        refusals::bad_length(Way::Read, Length::Zero);
    read_of_ragged_length_is_refused,
        "A read of a broken block is refused without effect.",
        refusals::bad_length(Way::Read, Length::Ragged);
    read_over_transfer_max_is_refused,
        "A read over the maximum transfer is refused without effect.",
        refusals::bad_length(Way::Read, Length::TooLong);
    read_out_of_device_is_refused,
        "A read past the end of the device is refused.",
        refusals::out_of_device(Way::Read);
    read_across_zones_is_refused,
        "A read that leaves its zone is refused without effect.",
        refusals::across_zones(Way::Read);
    write_of_nothing_is_refused,
        "A write of no bytes is refused without effect.",
        refusals::bad_length(Way::Write, Length::Zero);
    write_of_ragged_length_is_refused,
        "A write of a broken block is refused without effect.",
        refusals::bad_length(Way::Write, Length::Ragged);
    write_over_transfer_max_is_refused,
        "A write over the maximum transfer is refused without effect.",
        refusals::bad_length(Way::Write, Length::TooLong);
    write_out_of_device_is_refused,
        "A write past the end of the device is refused.",
        refusals::out_of_device(Way::Write);
    write_across_zones_is_refused,
        "A write that leaves its zone is refused without effect.",
        refusals::across_zones(Way::Write);
    write_across_capacity_is_refused,
        "A write over the capacity is refused without effect.",
        refusals::write_across_capacity();
    write_below_pointer_is_refused,
        "A write below the write pointer is refused without effect.",
        refusals::write_beside_pointer(1);
    write_above_pointer_is_refused,
        "A write above the write pointer is refused without effect.",
        refusals::write_beside_pointer(3);
    write_into_empty_zone_is_refused,
        "A write beyond the start of an empty zone does not open it.",
        refusals::write_into_empty();
    open_conventional_zone_is_refused,
        "Open of a conventional zone is refused without effect.",
        refusals::verb_on_conventional(Verb::Open);
    close_conventional_zone_is_refused,
        "Close of a conventional zone is refused without effect.",
        refusals::verb_on_conventional(Verb::Close);
    finish_conventional_zone_is_refused,
        "Finish of a conventional zone is refused without effect.",
        refusals::verb_on_conventional(Verb::Finish);
    reset_conventional_zone_is_refused,
        "Reset of a conventional zone is refused without effect.",
        refusals::verb_on_conventional(Verb::Reset);
    open_out_of_device_is_refused,
        "Open of a zone past the end of the device is refused.",
        refusals::verb_out_of_device(Verb::Open);
    close_out_of_device_is_refused,
        "Close of a zone past the end of the device is refused.",
        refusals::verb_out_of_device(Verb::Close);
    finish_out_of_device_is_refused,
        "Finish of a zone past the end of the device is refused.",
        refusals::verb_out_of_device(Verb::Finish);
    reset_out_of_device_is_refused,
        "Reset of a zone past the end of the device is refused.",
        refusals::verb_out_of_device(Verb::Reset);
    operation_on_read_only_zone_is_refused,
        "No operation changes a zone that is read only.",
        refusals::verb_on_retired(From::ReadOnly);
    write_to_read_only_zone_is_refused,
        "A write to a zone that is read only is refused.",
        refusals::write_to_retired(From::ReadOnly);
    operation_on_offline_zone_is_refused,
        "No operation changes a zone that is offline.",
        refusals::verb_on_retired(From::Offline);
    write_to_offline_zone_is_refused,
        "A write to a zone that is offline is refused.",
        refusals::write_to_retired(From::Offline);
    read_of_read_only_zone_is_served,
        "A read-only zone can be read.",
        refusals::read_of_retired(From::ReadOnly);
    read_of_offline_zone_is_refused,
        "An offline zone cannot be read.",
        refusals::read_of_retired(From::Offline);
    geometry_is_sane,
        "Block length is a power of two from 64 to 65536; counts are positive.",
        reports::geometry_sane();
    limits_are_sane,
        "Limits are positive, and active is at least open.",
        reports::limits_sane();
    geometry_is_constant,
        "The geometry is the same at every call.",
        reports::geometry_constant();
    zones_lie_in_order,
        "Zone z starts at block z times the zone size.",
        reports::zones_in_order();
    capacity_is_within_zone,
        "Write pointer, capacity and zone size are in this order.",
        reports::capacity_sane();
    elements_are_known,
        "Each zone names an element below the element count.",
        reports::elements_known();
    condition_fits_type,
        "Conventional zones have no write pointer, sequential ones have.",
        reports::condition_fits_type();
    report_from_middle_begins_there,
        "A report begins with the zone asked for.",
        reports::report_from_middle();
    report_fills_short_buffer,
        "A report fills its buffer and no more.",
        reports::report_short();
    report_ends_with_device,
        "A report is short only at the end of the device, empty behind it.",
        reports::report_at_end();
    write_pointer_follows_writes,
        "The report follows each write.",
        reports::pointer_follows();
    finished_zone_reports_capacity,
        "The write pointer of a full zone is its capacity.",
        reports::finished_pointer();
    clock_never_goes_back,
        "The clock never goes back.",
        reports::clock_forward();
    events_run_dry,
        "Events end, and name zones and elements of the device.",
        reports::events_end();
    synced_data_is_kept,
        "What was synced stays.",
        power::synced_is_kept();
    synced_conventional_data_is_kept,
        "Synced blocks of a conventional zone stay, whatever their neighbours.",
        power::conventional_synced();
    unsynced_data_is_prefix,
        "Of unsynced writes to a zone a prefix survives.",
        power::unsynced_is_prefix();
    write_in_flight_at_power_cut_is_prefix,
        "Of a write in flight when the power fails a prefix survives.",
        power::in_flight_is_prefix();
    power_cut_keeps_zones_apart,
        "Unsynced writes to a zone put no other at risk.",
        power::zones_independent();
    power_cycle_leaves_nothing_open,
        "No zone is open after power returns.",
        power::nothing_is_open();
    power_cycle_condition_fits_pointer,
        "Zones are closed, empty or full after power returns.",
        power::condition_fits_pointer();
    power_cycle_zone_is_written_on,
        "A zone is written on from its reported write pointer.",
        power::writes_go_on();
    readable_after_power_cycle_is_durable,
        "What can be read after power returns is durable.",
        power::readable_is_durable();
    synced_reset_is_kept,
        "A synced reset stays.",
        power::synced_reset();
    synced_finish_is_kept,
        "A synced finish stays.",
        power::synced_finish();
    unsynced_reset_is_whole,
        "A reset that was undone brings back the zone as a whole.",
        power::unsynced_reset();
    unsynced_rewrite_is_old_or_prefix,
        "A rewritten zone is the old one or a prefix of the new.",
        power::unsynced_rewrite();
    unsynced_finish_loses_nothing,
        "A finish that was undone loses nothing.",
        power::unsynced_finish();
    power_cycle_keeps_geometry,
        "The geometry is the same over a power cycle.",
        power::geometry_is_kept();
    sync_succeeds_when_idle,
        "A sync without anything unsynced succeeds.",
        power::sync_idle();
}
