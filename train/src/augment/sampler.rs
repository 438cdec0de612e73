//! The pixels of augmented pictures: one kernel on a GPU, the same code (`sample.h`) on a CPU.

use std::ffi::{c_int, c_void};

use rayon::prelude::*;
use tracing::warn;
use yf_plan::Modality;

use super::layout::{PLAN_WORDS, dead};
use crate::torch::{Device, Kernel, Kind, Tensor, TorchError};

/// The code of both.
pub const SOURCE: &str = include_str!("sample.h");
/// The kernel's name in it.
const NAME: &str = "yf_sample";
/// Threads of a block, and pixels of a thread.
const THREADS: usize = 256;
const PIXELS: usize = 4;
/// Rows that a CPU's thread samples at a time.
const ROWS: usize = 32;

unsafe extern "C" {
    fn yf_sample_rows(
        words: *const u32,
        plan: *const u32,
        rgb: *mut c_void,
        ir: *mut c_void,
        size: c_int,
        kind: c_int,
        dead: c_int,
        first: c_int,
        last: c_int,
    );
}

/// Samples pictures on one device.
pub struct Sampler {
    device: Device,
    kernel: Option<Kernel>,
}

/// What is sampled: tensors of 32-bit words.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// One [`super::PlanWords`] a picture, i32 [B * PLAN_WORDS].
    pub plans: &'a Tensor,
    /// Source pixels: what the plans' bases count in.
    pub pixels: &'a Tensor,
}

/// Where the pictures of a batch go.
#[derive(Debug)]
pub struct Pictures {
    /// RGB [B, 3, S, S], 0..1, channels innermost; f32, f16 or bf16.
    pub rgb: Tensor,
    /// Infrared in three equal planes, like `rgb`.
    pub ir: Tensor,
}

impl Pictures {
    /// Memory for `batch` pictures of `size` pixels a side.
    ///
    /// # Errors
    /// No memory.
    pub fn empty(batch: usize, size: usize, kind: Kind, device: Device) -> Result<Self, TorchError> {
        let shape = [batch as i64, size as i64, size as i64, 3];
        let one = || Tensor::f_empty(shape, (kind, device))?.f_permute([0, 3, 1, 2]);
        Ok(Pictures { rgb: one()?, ir: one()? })
    }

    /// Batch and side, where both tensors are what the sampler writes.
    fn shape(&self) -> Result<(usize, usize), TorchError> {
        let shape = self.rgb.size();
        let innermost = |t: &Tensor| t.f_permute([0, 2, 3, 1]).is_ok_and(|t| t.is_contiguous());
        match shape[..] {
            [batch, 3, height, width]
                if height == width
                    && self.ir.size() == shape
                    && self.ir.kind() == self.rgb.kind()
                    && self.ir.device() == self.rgb.device()
                    && innermost(&self.rgb)
                    && innermost(&self.ir) =>
            {
                Ok((batch as usize, height as usize))
            }
            _ => Err(TorchError(format!(
                "pictures must be two [B, 3, S, S] of one type with channels innermost, not {shape:?} and {:?}",
                self.ir.size()
            ))),
        }
    }
}

impl Sampler {
    /// A sampler for `device`. Where a GPU's kernel cannot be compiled it says so, and samples on the CPU.
    pub fn open(device: Device) -> Self {
        let Device::Cuda(index) = device else { return Sampler { device, kernel: None } };
        match Kernel::open(SOURCE, NAME, index) {
            Ok(kernel) => Sampler { device, kernel: Some(kernel) },
            Err(why) => {
                warn!("pictures are augmented on the CPU, which may be too slow for the GPU: {why}");
                Sampler { device, kernel: None }
            }
        }
    }

    /// Where [`Words`] must lie: the device, or the host where that does the work.
    pub fn place(&self) -> Device {
        if self.kernel.is_some() { self.device } else { Device::Cpu }
    }

    /// Samples all pictures; a camera that `modality` or, where that is both, a plan leaves out gives a
    /// picture of the border's grey. On a GPU this is
    /// one launch on the current stream, which a graph can record.
    ///
    /// # Errors
    /// Tensors of another shape, type or place than [`Words`] and [`Pictures`] say, and what the device reports.
    ///
    /// # Safety
    /// The plans must be [`super::PlanWords`] that read within `pixels`, and fill pictures of this size.
    pub unsafe fn sample(&self, words: Words, modality: Modality, into: &Pictures) -> Result<(), TorchError> {
        let (batch, size) = into.shape()?;
        let place = self.place();
        if words.plans.numel() != batch * PLAN_WORDS
            || [words.plans, words.pixels]
                .iter()
                .any(|t| t.kind() != Kind::Int || t.device() != place || !t.is_contiguous())
        {
            return Err(TorchError(format!(
                "{batch} pictures need {} words of plans on {place:?}, there are {:?}",
                batch * PLAN_WORDS,
                words.plans
            )));
        }
        if batch == 0 {
            return Ok(());
        }
        if let Some(kernel) = &self.kernel {
            // SAFETY: shapes, types and places were checked, the plans are the caller's promise.
            return unsafe { launch(kernel, words, modality, into, batch, size) };
        }
        if into.rgb.device() == Device::Cpu {
            // SAFETY: as above.
            return unsafe { on_cpu(words, modality, into, batch, size) };
        }
        let host = Pictures::empty(batch, size, into.rgb.kind(), Device::Cpu)?;
        // SAFETY: as above.
        unsafe { on_cpu(words, modality, &host, batch, size) }?;
        into.rgb.shallow_clone().f_copy_(&host.rgb)?;
        into.ir.shallow_clone().f_copy_(&host.ir)?;
        Ok(())
    }
}

/// The kernel's number of a type.
fn number_of(kind: Kind) -> Result<c_int, TorchError> {
    match kind {
        Kind::Float => Ok(0),
        Kind::Half => Ok(1),
        Kind::BFloat16 => Ok(2),
        other => Err(TorchError(format!("pictures cannot be {other:?}"))),
    }
}

/// # Safety
/// As [`Sampler::sample`].
unsafe fn launch(
    kernel: &Kernel,
    words: Words,
    modality: Modality,
    into: &Pictures,
    batch: usize,
    size: usize,
) -> Result<(), TorchError> {
    if !size.is_multiple_of(PIXELS) {
        return Err(TorchError(format!("pictures of {size} pixels: a GPU samples multiples of {PIXELS}")));
    }
    let mut pointers = [words.pixels, words.plans, &into.rgb, &into.ir].map(Tensor::data_ptr);
    let mut numbers = [size as c_int, number_of(into.rgb.kind())?, dead(modality)];
    let mut arguments = [std::ptr::null_mut(); 7];
    let all = pointers.iter_mut().map(|p| std::ptr::from_mut(p).cast());
    let all = all.chain(numbers.iter_mut().map(|n| std::ptr::from_mut(n).cast::<c_void>()));
    arguments.iter_mut().zip(all).for_each(|(slot, argument)| *slot = argument);
    let blocks = [(size * size).div_ceil(THREADS * PIXELS) as u32, batch as u32];
    // SAFETY: four pointers and three ints, as `yf_sample` declares them.
    unsafe { kernel.launch(blocks, THREADS as u32, &mut arguments) }
}

/// # Safety
/// As [`Sampler::sample`], with everything on the CPU.
unsafe fn on_cpu(
    words: Words,
    modality: Modality,
    into: &Pictures,
    batch: usize,
    size: usize,
) -> Result<(), TorchError> {
    let kind = number_of(into.rgb.kind())?;
    let picture_bytes = size * size * 3 * if kind == 0 { 4 } else { 2 };
    // Threads get addresses: each writes rows of its own.
    let [pixels, plans, rgb, ir] =
        [words.pixels, words.plans, &into.rgb, &into.ir].map(|t| t.data_ptr() as usize);
    (0..batch * size.div_ceil(ROWS)).into_par_iter().for_each(|block| {
        let (picture, first) = (block / size.div_ceil(ROWS), block % size.div_ceil(ROWS) * ROWS);
        // SAFETY: the plan and the pictures are within their tensors, the rest is the caller's promise.
        unsafe {
            yf_sample_rows(
                pixels as *const u32,
                (plans as *const u32).add(picture * PLAN_WORDS),
                (rgb as *mut u8).add(picture * picture_bytes).cast(),
                (ir as *mut u8).add(picture * picture_bytes).cast(),
                size as c_int,
                kind,
                dead(modality),
                first as c_int,
                (first + ROWS).min(size) as c_int,
            );
        }
    });
    Ok(())
}
