//! From the host to the device, in the order of the batches and beside the computation: a thread with a stream of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use yf_data::loader::{Loader, Prefetch};

use super::Prepared;
use super::host::HostLease;
use super::parcel::part;
use super::prepare::Packed;
use super::resident::Resident;
use crate::Error;
use crate::torch::{Device, Event, Stream, Tensor, TorchError};

/// Buffers on the device: one that is sampled, one that is ready, one that is filled.
const BUFFERS: usize = 3;
/// A buffer is taken this much larger than it must be, so that the next batch fits as well.
const SPARE: f64 = 1.25;

/// The buffers of a device, which epochs hand on to each other.
pub struct Buffers {
    free: Receiver<Buffer>,
    give_back: Sender<Buffer>,
    /// Absent on a CPU.
    stream: Option<Arc<Stream>>,
}

/// A buffer on a GPU.
struct Buffer {
    words: Option<Tensor>,
    /// The batch has arrived.
    filled: Event,
    /// The batch was sampled.
    sampled: Event,
}

/// The memory that a batch is read from; goes back when it is dropped.
pub enum Lease {
    /// On the host, where batches are sampled there.
    #[expect(dead_code, reason = "it is held until the batch was sampled")]
    Host(HostLease),
    /// On the device.
    Device(DeviceLease),
}

/// A buffer on the device in use.
pub struct DeviceLease {
    buffer: Option<Buffer>,
    give_back: Sender<Buffer>,
}

impl Buffers {
    /// Buffers for `device`; none are needed on a CPU.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn new(device: Device) -> Result<Self, TorchError> {
        let (give_back, free) = unbounded();
        let Device::Cuda(index) = device else { return Ok(Buffers { free, give_back, stream: None }) };
        for _ in 0..BUFFERS {
            let buffer = Buffer { words: None, filled: Event::new(index)?, sampled: Event::new(index)? };
            // The other end is beside it.
            let _ = give_back.send(buffer);
        }
        Ok(Buffers { free, give_back, stream: Some(Arc::new(Stream::new(index)?)) })
    }

    /// Sends what `packed` gives, from a thread of its own, until it ends or [`Upload`] is dropped.
    pub fn upload(
        &self,
        packed: Prefetch<Result<Packed, Error>>,
        loader: Arc<Loader>,
        resident: Option<Resident>,
    ) -> Upload {
        let (stop, stopped) = bounded(0);
        let (out, prepared) = bounded(1);
        let sender = Uploader {
            stream: self.stream.clone(),
            free: self.free.clone(),
            give_back: self.give_back.clone(),
            stopped,
            loader,
            resident,
        };
        let thread = std::thread::spawn(move || sender.run(packed, &out));
        Upload { stop: Some(stop), prepared: Some(prepared), thread: Some(thread) }
    }
}

impl Lease {
    /// Has this thread's current stream wait until the batch has arrived.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn wait(&self) -> Result<(), TorchError> {
        match self {
            Lease::Device(DeviceLease { buffer: Some(buffer), .. }) => buffer.filled.block(None),
            _ => Ok(()),
        }
    }
}

impl Drop for DeviceLease {
    fn drop(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            if let Err(why) = buffer.sampled.record(None) {
                tracing::error!("a batch's memory cannot be used again: {why}");
                return;
            }
            // Nobody takes it where the feed is gone.
            let _ = self.give_back.send(buffer);
        }
    }
}

/// Batches on the device, in order.
pub struct Upload {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    prepared: Option<Receiver<Result<Prepared, Error>>>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Upload {
    type Item = Result<Prepared, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.prepared.as_ref()?.recv().ok()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.stop = None;
        self.prepared = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends batches to the device panicked");
        }
    }
}

/// What the thread works with.
struct Uploader {
    /// Absent on a CPU.
    stream: Option<Arc<Stream>>,
    free: Receiver<Buffer>,
    give_back: Sender<Buffer>,
    stopped: Receiver<()>,
    loader: Arc<Loader>,
    resident: Option<Resident>,
}

impl Uploader {
    fn run(self, packed: Prefetch<Result<Packed, Error>>, out: &Sender<Result<Prepared, Error>>) {
        for packed in packed {
            let packed = packed.map_err(Error::from).and_then(|inner| inner);
            let prepared = match packed {
                Ok(packed) => self.send(packed).transpose(),
                Err(error) => Some(Err(error)),
            };
            let Some(prepared) = prepared else { return };
            if out.send(prepared).is_err() {
                return;
            }
        }
    }

    /// `None` where nobody wants it any more.
    fn send(&self, packed: Packed) -> Result<Option<Prepared>, Error> {
        if let Some(resident) = &self.resident {
            for (index, sample) in &packed.missing {
                resident.take(*index, sample, self.stream.as_deref())?;
                self.loader.release(*index);
            }
        }
        let Packed { words, parcel, labels, pictures, .. } = packed;
        let (words, lease) = match &self.stream {
            None => (words.tensor()?, Lease::Host(words)),
            Some(stream) => {
                let Some(mut lease) = self.buffer() else { return Ok(None) };
                let there = fill(&mut lease, &words.tensor()?, stream)?;
                words.sent_on(stream)?;
                (there, Lease::Device(lease))
            }
        };
        let resident = self.resident.as_ref().map(Resident::words);
        Ok(Some(Prepared { words, resident, parcel, labels, pictures, lease }))
    }

    fn buffer(&self) -> Option<DeviceLease> {
        select! {
            recv(self.free) -> buffer => {
                buffer.ok().map(|buffer| DeviceLease { buffer: Some(buffer), give_back: self.give_back.clone() })
            }
            recv(self.stopped) -> _ => None,
        }
    }
}

/// Copies a batch into a buffer, after what was in it has been sampled.
fn fill(lease: &mut DeviceLease, host: &Tensor, stream: &Stream) -> Result<Tensor, TorchError> {
    let Some(buffer) = &mut lease.buffer else {
        return Err(TorchError("a buffer was given back while it was filled".to_owned()));
    };
    buffer.sampled.block(Some(stream))?;
    let length = host.numel();
    if buffer.words.as_ref().is_none_or(|words| words.numel() < length) {
        buffer.words = None;
        buffer.words = Some(stream.words((length as f64 * SPARE) as usize)?);
    }
    let Some(words) = &buffer.words else {
        return Err(TorchError("a buffer without memory".to_owned()));
    };
    let words = part(words, 0..length)?;
    stream.copy(&words, host)?;
    buffer.filled.record(Some(stream))?;
    Ok(words)
}
