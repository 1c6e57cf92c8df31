//! Simulated drives for the Shingle storage engine: media models, virtual time, power cuts, images,
//! and the harnesses that exercise the engine on them.
#![deny(unsafe_code)] // but for the kernel's ioctls: `linux/ioctl.rs`

pub mod doctor;
pub mod drive;
pub mod exec;
pub mod fault;
pub mod harness;
pub mod image;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod media;
pub mod synthetic;
pub mod timing;

pub use drive::{Drive, DriveError, Outcome};
pub use exec::Executor;
pub use fault::FaultPlan;
pub use image::{Image, ImageError};
