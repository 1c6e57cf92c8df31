//! Read-ahead: what the buffer holds of each read stream, and what the head reads on while nothing
//! else is asked of it.
//!
//! After a read the head keeps reading behind it, up to a window past what was last consumed. What
//! it has at an instant is computed when asked, so an idle drive takes no events.

use super::arm::Arm;

/// Blocks `[start, end)` in the buffer.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u64,
    end: u64,
}

/// The head reading on by itself.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// First block still in the buffer.
    start: u64,
    /// The head passed `lba` at `at_ns`, and reads on to `limit`.
    lba: u64,
    at_ns: u64,
    limit: u64,
}

/// The read buffer.
#[derive(Clone, Debug)]
pub(super) struct ReadAhead {
    window_blocks: u64,
    segment_count_max: usize,
    /// Least recently used first.
    segments: Vec<Segment>,
    stream: Option<Stream>,
}

impl ReadAhead {
    pub(super) fn new(window_blocks: u64, segment_count_max: usize) -> Self {
        Self { window_blocks, segment_count_max, segments: Vec::new(), stream: None }
    }

    /// Whether `[start, end)` is all in the buffer at `now_ns`; if so it counts as consumed. The
    /// stream the head was reading counts only while the arm is `idle`.
    pub(super) fn take(
        &mut self,
        arm: &Arm,
        now_ns: u64,
        (start, end): (u64, u64),
        idle: bool,
    ) -> bool {
        if let Some(index) = self.segment_with(start)
            && end <= self.segments[index].end
        {
            let segment = self.segments.remove(index);
            self.segments.push(segment);
            return true;
        }
        let Some(stream) = self.stream.filter(|_| idle) else {
            return false;
        };
        let reached = reached(arm, &stream, now_ns);
        if start < stream.start || end > reached {
            return false;
        }
        self.consume(arm, now_ns, end);
        true
    }

    /// The first block of `[start, ..)` that the buffer lacks and the head must still come to, if
    /// the stream the head is reading holds or approaches `start`; and when the head passes `end`.
    pub(super) fn stream_end_ns(
        &self,
        arm: &Arm,
        now_ns: u64,
        start: u64,
        end: u64,
    ) -> Option<u64> {
        let stream = self.stream?;
        if start < stream.start || start > stream.limit {
            return None;
        }
        let limit_ns = stream.at_ns + arm.layout.sweep_ns(stream.lba, stream.limit);
        if end <= stream.limit || now_ns <= limit_ns {
            let sweep_ns = arm.layout.sweep_ns(stream.lba, end.max(stream.lba));
            return Some(now_ns.max(stream.at_ns + sweep_ns));
        }
        let wait_ns = arm.rotation_ns(now_ns, stream.limit);
        Some(now_ns + wait_ns + arm.layout.sweep_ns(stream.limit, end))
    }

    /// Where a read of `[start, end)` must begin on media, given stored segments.
    pub(super) fn media_start(&self, start: u64, end: u64) -> u64 {
        match self.segment_with(start) {
            Some(index) => self.segments[index].end.min(end - 1),
            None => start,
        }
    }

    /// The head read up to `end` at `at_ns` for a request that began at `start`, and reads on.
    pub(super) fn read(&mut self, arm: &Arm, start: u64, end: u64, at_ns: u64) {
        let mut first = match self.stream {
            Some(stream) if start >= stream.start && start <= stream.limit => stream.start,
            _ => start,
        };
        if let Some(index) = self.segment_with(start) {
            first = first.min(self.segments.remove(index).start);
        }
        self.stream = Some(Stream {
            start: first.max(end.saturating_sub(2 * self.window_blocks)),
            lba: end,
            at_ns,
            limit: (end + self.window_blocks).min(arm.layout.end()),
        });
    }

    /// The head is taken away at `now_ns`; what it read stays in the buffer.
    pub(super) fn stop(&mut self, arm: &Arm, now_ns: u64) -> Option<u64> {
        let stream = self.stream.take()?;
        let end = reached(arm, &stream, now_ns);
        let start = stream.start;
        if self.segment_count_max > 0 && end > start {
            if self.segments.len() == self.segment_count_max {
                self.segments.remove(0);
            }
            self.segments.push(Segment { start, end });
        }
        Some(end)
    }

    /// Blocks `[start, end)` change: what the buffer holds of them is stale.
    pub(super) fn invalidate(&mut self, arm: &Arm, now_ns: u64, start: u64, end: u64) {
        if let Some(stream) = self.stream
            && start < stream.limit
            && end > stream.start
        {
            self.stop(arm, now_ns);
        }
        for segment in &mut self.segments {
            if start < segment.end && end > segment.start {
                segment.end = segment.start.max(start);
            }
        }
        self.segments.retain(|segment| segment.end > segment.start);
    }

    /// Power was cut.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.stream = None;
    }

    fn segment_with(&self, lba: u64) -> Option<usize> {
        let holds = |segment: &Segment| (segment.start..=segment.end).contains(&lba);
        self.segments.iter().rposition(holds)
    }

    /// The host took everything before `end` at `now_ns`: the window moves on.
    fn consume(&mut self, arm: &Arm, now_ns: u64, end: u64) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let limit_ns = stream.at_ns + arm.layout.sweep_ns(stream.lba, stream.limit);
        if now_ns > limit_ns {
            // The buffer was full and the head had stopped; it resumes when its block comes round.
            stream.lba = stream.limit;
            stream.at_ns = now_ns + arm.rotation_ns(now_ns, stream.limit);
        }
        let limit = (end + self.window_blocks).min(arm.layout.end());
        stream.limit = stream.limit.max(limit);
        stream.start = stream.start.max(end.saturating_sub(2 * self.window_blocks));
    }
}

/// How far the head has read at `now_ns`.
fn reached(arm: &Arm, stream: &Stream, now_ns: u64) -> u64 {
    let spent_ns = now_ns.saturating_sub(stream.at_ns);
    arm.layout.swept_to(stream.lba, spent_ns, stream.limit)
}
