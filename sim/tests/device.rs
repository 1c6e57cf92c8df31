//! All tests of simulated drives themselves, in one program.

mod board_image;
mod calibration;
mod calibration_flash;
mod conformance;
mod drive;
mod drive_flight;
mod drive_model;
mod fault;
mod image;
#[cfg(target_os = "linux")]
mod linux;
mod load;
mod timing_rules;
