//! Instructions: how many so far, and how many of them in the device.

use core::cell::Cell;

use semihosting::println;
use shingle_hal::{Device, Event, Geometry, Lba, Request, ZoneDescriptor, ZoneId};

/// Instructions, by SysTick.
pub(crate) struct Clock {
    wraps: Cell<u64>,
}

const SYST_CSR: *mut u32 = 0xe000_e010 as *mut u32;
const SYST_RVR: *mut u32 = 0xe000_e014 as *mut u32;
const SYST_CVR: *mut u32 = 0xe000_e018 as *mut u32;

impl Clock {
    pub(crate) fn start() -> Self {
        // SAFETY: nothing else on this board uses SysTick.
        unsafe {
            SYST_RVR.write_volatile(0x00ff_ffff);
            SYST_CVR.write_volatile(0);
            SYST_CSR.write_volatile(5);
        }
        Self { wraps: Cell::new(0) }
    }

    /// Instructions so far. It is asked at least once in 10 million, by every request.
    pub(crate) fn now(&self) -> u64 {
        // SAFETY: as above.
        let (mut left, has_wrapped) =
            unsafe { (SYST_CVR.read_volatile(), SYST_CSR.read_volatile() & 1 << 16 != 0) };
        if has_wrapped {
            self.wraps.set(self.wraps.get() + 1);
            // SAFETY: as above.
            left = unsafe { SYST_CVR.read_volatile() };
        }
        let ticks = (self.wraps.get() << 24) + u64::from(0x00ff_ffff - left);
        ticks * 40 / 64
    }
}

/// A device, and the instructions spent in it.
pub(crate) struct Metered<'c, D> {
    device: D,
    clock: &'c Clock,
    spent: Cell<u64>,
}

impl<'c, D: Device> Metered<'c, D> {
    pub(crate) fn new(device: D, clock: &'c Clock) -> Self {
        Self { device, clock, spent: Cell::new(0) }
    }

    async fn meter<T>(&self, asked: impl Future<Output = T>) -> T {
        let begun = self.clock.now();
        let answer = asked.await;
        self.spent.set(self.spent.get() + self.clock.now() - begun);
        answer
    }
}

impl<D: Device> Device for Metered<'_, D> {
    type Error = D::Error;

    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    async fn read(&self, at: Lba, out: &mut [u8], request: Request) -> Result<(), D::Error> {
        self.meter(self.device.read(at, out, request)).await
    }

    async fn write(&self, at: Lba, data: &[u8], request: Request) -> Result<(), D::Error> {
        self.meter(self.device.write(at, data, request)).await
    }

    async fn sync(&self) -> Result<(), D::Error> {
        self.meter(self.device.sync()).await
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, D::Error> {
        self.meter(self.device.report(first, out)).await
    }

    async fn open(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.meter(self.device.open(zone)).await
    }

    async fn close(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.meter(self.device.close(zone)).await
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.meter(self.device.finish(zone)).await
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.meter(self.device.reset(zone)).await
    }

    fn poll_event(&self) -> Option<Event> {
        self.device.poll_event()
    }
}

/// What an operation took, time after time.
pub(crate) struct Cost<'c, D> {
    what: &'static str,
    device: &'c Metered<'c, D>,
    count: u64,
    engine: u64,
    most: u64,
    in_device: u64,
    future_len: usize,
}

impl<'c, D> Cost<'c, D> {
    pub(crate) fn of(what: &'static str, device: &'c Metered<'c, D>) -> Self {
        Self { what, device, count: 0, engine: 0, most: 0, in_device: 0, future_len: 0 }
    }

    pub(crate) async fn take<T>(&mut self, operation: impl Future<Output = T>) -> T {
        self.future_len = self.future_len.max(size_of_val(&operation));
        let (begun, spent) = (self.device.clock.now(), self.device.spent.get());
        let done = operation.await;
        let in_device = self.device.spent.get() - spent;
        let engine = self.device.clock.now() - begun - in_device;
        self.count += 1;
        self.engine += engine;
        self.most = self.most.max(engine);
        self.in_device += in_device;
        done
    }
}

impl<D> Drop for Cost<'_, D> {
    fn drop(&mut self) {
        let count = self.count.max(1);
        println!(
            "| {} | {} | {} | {} | {} |",
            self.what,
            self.engine / count,
            self.most,
            self.in_device / count,
            self.future_len
        );
    }
}
