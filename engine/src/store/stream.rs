//! Values through streams: longer than any buffer, in and out.
//!
//! The caller hands in the memory between the stream and the log. Nothing of the store is held
//! while a stream is waited for: each filled buffer is appended as a fragment of its own, and the
//! key is set only when the last is there. What a failed stream leaves in the log nobody refers
//! to, so reclaim takes it for dead.

use embedded_io_async::{Read, Write};
use shingle_hal::Device;

use crate::error::{ReadError, WriteError};
use crate::store::Store;
use crate::store::options::{Meta, ReadOptions, WriteOptions};
use crate::store::read::Found;

impl<D: Device> Store<'_, D> {
    /// Sets `key` to `len` bytes from `reader`. `buffer` is filled again and again; a value of at
    /// most half as many fillings as [fragments](crate::Limits::fragments_max) is sure to be taken
    /// (32 with nodes of 4 KiB), as some end where a zone does.
    ///
    /// # Errors
    /// [`WriteError::Stream`] if the reader fails or ends early; see [`WriteError`].
    pub async fn put_from<R: Read>(
        &self,
        key: &[u8],
        meta: Meta<'_>,
        len: u64,
        reader: &mut R,
        buffer: &mut [u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        self.check_put(key, &meta, len)?;
        let whole = usize::try_from(len).ok().filter(|&len| len <= buffer.len());
        if let Some(whole) = whole {
            let value = &mut buffer[..whole];
            reader.read_exact(value).await.map_err(|_| WriteError::Stream)?;
            return self.put(key, meta, value, options).await;
        }
        let fillings_max = self.core.limits.fragments_max() as u64;
        if len > fillings_max * buffer.len() as u64 {
            return Err(WriteError::ValueTooLong);
        }
        let mut pen = self.begin_fragments(key)?;
        let total = usize::try_from(len).map_err(|_| WriteError::ValueTooLong)?;
        let (mut held, mut taken) = (0, 0);
        while taken < total || held > 0 {
            let room = buffer.len().min(held + total - taken);
            while held < room {
                let read = reader.read(&mut buffer[held..room]).await;
                match read {
                    Ok(0) | Err(_) => return Err(WriteError::Stream),
                    Ok(count) => {
                        held += count;
                        taken += count;
                    }
                }
            }
            let used = pen.append(&buffer[..held], total).await?;
            buffer.copy_within(used..held, 0);
            held -= used;
        }
        pen.commit(meta, options).await
    }

    /// Writes the value of `key` to `writer`, through `buffer`; `None` if the key is absent.
    ///
    /// # Errors
    /// [`ReadError::Stream`] if the writer fails; see [`ReadError`]. Part of the value may then
    /// have been written.
    pub async fn get_to<W: Write>(
        &self,
        key: &[u8],
        writer: &mut W,
        buffer: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Option<Found>, ReadError<D::Error>> {
        if buffer.is_empty() {
            return Err(ReadError::BufferTooSmall { needed_bytes: 1 });
        }
        // One version from the first byte to the last.
        let own = if options.snapshot.is_none() { Some(self.snapshot()?) } else { None };
        let snapshot = options.snapshot.or(own.as_deref());
        let options = ReadOptions { snapshot, ..options };
        let mut offset = 0;
        loop {
            let Some((found, len)) = self.get_at(key, offset, buffer, options).await? else {
                return Ok(None);
            };
            writer.write_all(&buffer[..len]).await.map_err(|_| ReadError::Stream)?;
            offset += len as u64;
            if offset >= found.value_len {
                return Ok(Some(found));
            }
            if len == 0 {
                return Err(ReadError::BufferTooSmall { needed_bytes: 1 });
            }
        }
    }
}
