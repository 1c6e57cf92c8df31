//! All tests of stores on simulated drives, a file for each matter, in one program: that is built
//! in a fraction of the time that one for each file takes.

mod anchors;
#[cfg(feature = "canary")]
mod canary;
mod cli;
mod costs;
mod deadline;
mod delete_range;
#[cfg(target_os = "linux")]
mod disk;
mod doctor;
mod effort;
mod evacuate;
mod evacuate_parity;
mod exhaustive;
mod fault_matrix;
mod fault_store;
mod faulted;
mod format;
mod fuzz;
mod golden;
mod head_loss;
mod life;
mod log_damage;
mod lost_list;
mod memory;
mod mirror_log;
mod model;
mod mount;
mod overwrite;
mod pacing;
mod parity;
mod parts;
mod place;
mod rebuild;
mod scale;
mod scrub;
mod scrub_parity;
mod shelf;
mod shrink;
mod smoke;
mod streams;
#[cfg(feature = "canary")]
mod swap;
mod torture;
