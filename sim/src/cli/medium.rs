//! What a store is on: a simulated drive in an image, or a file or a disk of this machine.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use shingle_hal::{
    Device, Error, ErrorKind, Event, Geometry, Lba, Request, ZoneDescriptor, ZoneId,
};
#[cfg(target_os = "linux")]
use shingle_sim::linux::Queue;
use shingle_sim::{Drive, DriveError, Image};

#[cfg(target_os = "linux")]
use super::disk::Disk;
use super::{Failure, size};

/// An open image or disk.
pub(crate) enum Medium {
    /// A simulated drive, in its own time.
    Image(Box<Image>),
    /// A file or a disk, in this machine's.
    #[cfg(target_os = "linux")]
    Disk(Box<Disk>),
}

/// What its requests fail with.
#[derive(Clone, Copy)]
pub(crate) enum MediumError {
    Drive(DriveError),
    #[cfg(target_os = "linux")]
    Disk(shingle_sim::linux::FileFault),
}

/// The same asked of whichever it is, and its error as one of this module.
macro_rules! asked {
    ($self:ident, $device:ident => $asked:expr) => {
        match $self {
            Self::Image(image) => {
                let $device = image.drive();
                $asked.map_err(MediumError::Drive)
            }
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => {
                let $device = disk.device();
                $asked.map_err(MediumError::Disk)
            }
        }
    };
}

impl Medium {
    /// Opens the image at `path`.
    pub(crate) fn image(path: &Path) -> Result<Self, Failure> {
        let found = path.metadata().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::new(format!(
                "there is no image {}; make one with `shingle format`",
                path.display()
            )),
            _ => Failure::file(path, &error),
        })?;
        if found.is_dir() {
            return Err(Failure::new(format!("{} is a directory, not an image", path.display())));
        }
        if !found.is_file() {
            return Err(Failure::new(format!(
                "{} is no image; a disk is given as --device {}",
                path.display(),
                path.display()
            )));
        }
        let image = Image::open(path)?;
        if image.was_interrupted() {
            eprintln!(
                "shingle: the last save of {} did not end; the store recovers",
                path.display()
            );
        }
        Ok(Self::Image(Box::new(image)))
    }

    /// Opens the file or disk at `path`, whatever it holds.
    #[cfg(target_os = "linux")]
    pub(crate) fn disk(path: &Path) -> Result<Self, Failure> {
        Self::disk_by(path, Queue::Best)
    }

    /// The same, and its requests go by `queue`.
    #[cfg(target_os = "linux")]
    pub(crate) fn disk_by(path: &Path, queue: Queue) -> Result<Self, Failure> {
        Ok(Self::Disk(Box::new(Disk::open(path, queue)?)))
    }

    /// There are none to open.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn disk(_: &Path) -> Result<Self, Failure> {
        Err(Failure::new("stores on disks need Linux"))
    }

    /// The drive in an image.
    pub(crate) fn drive(&self) -> Option<&Drive> {
        match self {
            Self::Image(image) => Some(image.drive()),
            #[cfg(target_os = "linux")]
            Self::Disk(_) => None,
        }
    }

    /// Saves an image; what is on a disk is there already.
    pub(crate) fn save(&mut self) -> Result<(), Failure> {
        match self {
            Self::Image(image) => Ok(image.save()?),
            #[cfg(target_os = "linux")]
            Self::Disk(_) => Ok(()),
        }
    }

    /// Drives `future` to its end, in the medium's time.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Image(image) => image.drive().block_on(future),
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => disk.block_on(future),
        }
    }

    /// Nanoseconds since some time before.
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Self::Image(image) => image.drive().now_ns(),
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => disk.now_ns(),
        }
    }

    /// Waits until it is `time_ns`.
    pub(crate) async fn sleep_until(&self, time_ns: u64) {
        match self {
            Self::Image(image) => image.drive().sleep_until(time_ns).await,
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => {
                let wait = Duration::from_nanos(time_ns.saturating_sub(disk.now_ns()));
                shingle_sim::linux::sleep(wait).await;
            }
        }
    }

    /// What it is called: a drive of the media that can be simulated, or a kind of disk.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Image(image) => image.drive().spec().name,
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => disk.name().to_owned(),
        }
    }

    /// Bytes that its zones can hold, where all take what they are made for.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        match self {
            Self::Image(image) => image.drive().spec().capacity_bytes(),
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => {
                let geometry = disk.device().geometry();
                geometry.end().0 * u64::from(geometry.block_len_bytes)
            }
        }
    }

    /// Reads so far, where they are counted.
    pub(crate) fn reads(&self) -> Option<u64> {
        self.drive().map(|drive| drive.stats().all.reads)
    }

    /// A sentence's end about what it is and how large.
    pub(crate) fn describe(&self) -> String {
        let zones = self.geometry().zone_count;
        format!("{}, {zones} zones, {}", self.name(), size::show(self.capacity_bytes()))
    }
}

impl Device for Medium {
    type Error = MediumError;

    fn geometry(&self) -> Geometry {
        match self {
            Self::Image(image) => image.drive().geometry(),
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => disk.device().geometry(),
        }
    }

    fn now_us(&self) -> Option<u64> {
        Some(self.now_ns() / 1000)
    }

    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), MediumError> {
        asked!(self, device => device.read(start, buf, request).await)
    }

    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), MediumError> {
        asked!(self, device => device.write(start, data, request).await)
    }

    async fn sync(&self) -> Result<(), MediumError> {
        asked!(self, device => device.sync().await)
    }

    async fn report(
        &self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Result<usize, MediumError> {
        asked!(self, device => device.report(first, out).await)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), MediumError> {
        asked!(self, device => device.open(zone).await)
    }

    async fn close(&self, zone: ZoneId) -> Result<(), MediumError> {
        asked!(self, device => device.close(zone).await)
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), MediumError> {
        asked!(self, device => device.finish(zone).await)
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), MediumError> {
        asked!(self, device => device.reset(zone).await)
    }

    fn poll_event(&self) -> Option<Event> {
        match self {
            Self::Image(image) => image.drive().poll_event(),
            #[cfg(target_os = "linux")]
            Self::Disk(disk) => disk.device().poll_event(),
        }
    }
}

impl Error for MediumError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Drive(error) => error.kind(),
            #[cfg(target_os = "linux")]
            Self::Disk(fault) => fault.kind(),
        }
    }
}

impl fmt::Display for MediumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drive(error) => error.fmt(f),
            #[cfg(target_os = "linux")]
            Self::Disk(fault) => fault.fmt(f),
        }
    }
}

/// The engine's sentences end with a device's error in this form.
impl fmt::Debug for MediumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
