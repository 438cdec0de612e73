//! Several processes as one: the store they meet at, their process group, and what is reduced through it. The C++ is
//! `distributed.cpp`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::ffi::{Handle, TorchError, check, free, handle, handles, own};
use super::{Device, Kind, Tensor};

unsafe extern "C" {
    fn yf_store_new(
        host: *const c_char,
        port: c_int,
        serves: c_int,
        listens_on: c_int,
        prefix: *const c_char,
        timeout_ms: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn yf_store_set(store: *mut c_void, key: *const c_char, value: *const u8, n: usize) -> *mut c_char;
    fn yf_store_get(
        store: *mut c_void,
        key: *const c_char,
        value: *mut *mut u8,
        n: *mut usize,
    ) -> *mut c_char;
    fn yf_store_has(store: *mut c_void, key: *const c_char, there: *mut c_int) -> *mut c_char;
    fn yf_store_add(store: *mut c_void, key: *const c_char, by: i64, sum: *mut i64) -> *mut c_char;
    fn yf_store_free(store: *mut c_void);
    fn yf_group_new(
        store: *mut c_void,
        host: *const c_char,
        interface: *const c_char,
        rank: c_int,
        size: c_int,
        device: c_int,
        timeout_ms: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn yf_group_sum(group: *mut c_void, tensor: Handle) -> *mut c_char;
    fn yf_group_sum_all(group: *mut c_void, tensors: *const Handle, n: usize) -> *mut c_char;
    fn yf_group_broadcast(group: *mut c_void, tensors: *const Handle, n: usize) -> *mut c_char;
    fn yf_group_gather(group: *mut c_void, out: Handle, own: Handle) -> *mut c_char;
    fn yf_reducer_new(
        group: *mut c_void,
        params: *const Handle,
        n: usize,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn yf_reducer_before_forward(reducer: *mut c_void) -> *mut c_char;
    fn yf_reducer_before_backward(reducer: *mut c_void) -> *mut c_char;
    fn yf_reducer_free(reducer: *mut c_void);
    fn yf_sync_batch_norm(
        group: *mut c_void,
        x: Handle,
        weight: Handle,
        bias: Handle,
        running_mean: Handle,
        running_var: Handle,
        eps: f64,
        momentum: f64,
        out: *mut Handle,
    ) -> *mut c_char;
}

fn c_string(text: &str) -> Result<CString, TorchError> {
    CString::new(text).map_err(|_| TorchError(format!("{text:?} holds a zero byte")))
}

/// Keys and values that all ranks see (c10d's TCPStore): a connection of its own, usable from any thread.
pub struct Store(*mut c_void);

// SAFETY: TCPStore locks its connection around every call.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

/// How a rank reaches the store.
#[derive(Debug, Clone, Copy)]
pub struct Meeting<'a> {
    /// Host that serves.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Whether this process serves.
    pub serves: bool,
    /// A socket of the serving process that listens already.
    pub listens_on: Option<i32>,
    /// Goes before every key.
    pub prefix: &'a str,
    /// How long to wait for the server, and later for a key.
    pub timeout: Duration,
}

impl Store {
    /// Connects, and serves before that where it is this process's part.
    ///
    /// # Errors
    /// When nobody serves within the timeout.
    pub fn connect(meeting: Meeting<'_>) -> Result<Self, TorchError> {
        let (host, prefix) = (c_string(meeting.host)?, c_string(meeting.prefix)?);
        let mut out = std::ptr::null_mut();
        // SAFETY: live strings, plain numbers; `out` receives a new store.
        check(unsafe {
            yf_store_new(
                host.as_ptr(),
                c_int::from(meeting.port),
                c_int::from(meeting.serves),
                meeting.listens_on.unwrap_or(-1),
                prefix.as_ptr(),
                meeting.timeout.as_millis() as i64,
                &mut out,
            )
        })?;
        Ok(Store(out))
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), TorchError> {
        let key = c_string(key)?;
        // SAFETY: a live store, string and slice.
        check(unsafe { yf_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value of a key; waits until somebody has set it.
    ///
    /// # Errors
    /// When nobody does within the timeout, or the server is gone.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, TorchError> {
        let (key, mut value, mut n) = (c_string(key)?, std::ptr::null_mut(), 0);
        // SAFETY: a live store and string; the out-parameters receive a buffer from malloc and its length.
        check(unsafe { yf_store_get(self.0, key.as_ptr(), &mut value, &mut n) })?;
        // SAFETY: the buffer holds `n` bytes and is freed once, after the copy.
        unsafe {
            let bytes = std::slice::from_raw_parts(value, n).to_vec();
            free(value.cast());
            Ok(bytes)
        }
    }

    /// The value of a key if somebody has set it.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn find(&self, key: &str) -> Result<Option<Vec<u8>>, TorchError> {
        let (c_key, mut there) = (c_string(key)?, 0);
        // SAFETY: a live store and string; `there` is live.
        check(unsafe { yf_store_has(self.0, c_key.as_ptr(), &mut there) })?;
        if there == 0 { Ok(None) } else { self.get(key).map(Some) }
    }

    /// Adds to a counter that starts at 0, and returns its sum.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn add(&self, key: &str, by: i64) -> Result<i64, TorchError> {
        let (key, mut sum) = (c_string(key)?, 0);
        // SAFETY: a live store and string; `sum` is live.
        check(unsafe { yf_store_add(self.0, key.as_ptr(), by, &mut sum) })?;
        Ok(sum)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by yf_store_new, freed once.
        unsafe { yf_store_free(self.0) }
    }
}

/// The process group of all ranks. All of them must call the same things in the same order.
#[derive(Clone)]
pub struct Group(Arc<Inner>);

/// Never freed: a group that is closed looks to the others like a rank that died. It ends with its process.
struct Inner {
    group: *mut c_void,
    size: usize,
}

// SAFETY: c10d's groups are called from autograd's threads too.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Group {
    /// Joins `size` ranks as number `rank`; waits for all of them. `host` is this machine's address among them, where
    /// that is known; `interface` a network interface that goes before it. What lies on `device`
    /// goes through NCCL where that is a GPU, all else through Gloo.
    ///
    /// # Errors
    /// When a rank does not come within the timeout.
    pub fn join(
        store: &Store,
        (rank, size): (usize, usize),
        (host, interface): (Option<&str>, Option<&str>),
        device: Device,
        timeout: Duration,
    ) -> Result<Self, TorchError> {
        let (host, interface) = (host.map(c_string).transpose()?, interface.map(c_string).transpose()?);
        let text = |c: &Option<CString>| c.as_ref().map_or(std::ptr::null(), |c| c.as_ptr());
        let gpu = if let Device::Cuda(index) = device { index as c_int } else { -1 };
        let mut group = std::ptr::null_mut();
        // SAFETY: a live store; strings live or null; `group` receives a new group, which shares the store.
        check(unsafe {
            yf_group_new(
                store.0,
                text(&host),
                text(&interface),
                rank as c_int,
                size as c_int,
                gpu,
                timeout.as_millis() as i64,
                &mut group,
            )
        })?;
        Ok(Group(Arc::new(Inner { group, size })))
    }

    /// Replaces a tensor by its sum over all ranks. Can be recorded in a CUDA graph.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), TorchError> {
        // SAFETY: a live group and tensor.
        check(unsafe { yf_group_sum(self.0.group, handle(tensor)) })
    }

    /// Replaces float tensors of one device by their sums over all ranks, in one message.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn sum_all(&self, tensors: &[Tensor]) -> Result<(), TorchError> {
        let list = handles(tensors);
        // SAFETY: a live group and live tensors.
        check(unsafe { yf_group_sum_all(self.0.group, list.as_ptr(), list.len()) })
    }

    /// Replaces float tensors of one device by those of rank 0, in one message.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<(), TorchError> {
        let list = handles(tensors);
        // SAFETY: a live group and live tensors.
        check(unsafe { yf_group_broadcast(self.0.group, list.as_ptr(), list.len()) })
    }

    /// What each rank hands in, by rank, on every rank.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TorchError> {
        let lengths: Vec<i64> = Vec::try_from(self.rows(&Tensor::from_slice(&[bytes.len() as i64]))?)?;
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1) as usize;
        let padded: Vec<u8> = bytes.iter().copied().chain(std::iter::repeat(0)).take(longest).collect();
        let rows = Vec::<u8>::try_from(self.rows(&Tensor::from_slice(&padded))?)?;
        Ok(rows.chunks(longest).zip(lengths).map(|(row, n)| row[..n as usize].to_vec()).collect())
    }

    /// The elements of every rank's vector, by rank.
    fn rows(&self, own: &Tensor) -> Result<Tensor, TorchError> {
        let elements = (self.0.size * own.numel()) as i64;
        let rows = Tensor::f_zeros([elements], (own.kind(), Device::Cpu))?;
        // SAFETY: a live group and tensors.
        check(unsafe { yf_group_gather(self.0.group, handle(&rows), handle(own)) })?;
        Ok(rows)
    }
}

/// Sums gradients over all ranks while backward is still at work (c10d's Reducer, as PyTorch's DistributedDataParallel
/// uses it): buckets of parameters are sent as soon as their gradients are there.
pub struct Reducer(*mut c_void);

impl Reducer {
    /// A reducer of the gradients of these parameters, which every pass must reach. All ranks' must be alike.
    ///
    /// # Errors
    /// When the ranks' parameters are not alike.
    pub fn new(group: &Group, params: &[Tensor]) -> Result<Self, TorchError> {
        debug_assert!(params.iter().all(|p| p.kind() == Kind::Float));
        let (list, mut out) = (handles(params), std::ptr::null_mut());
        // SAFETY: a live group, which is never freed, and live tensors; `out` receives a new reducer.
        check(unsafe { yf_reducer_new(group.0.group, list.as_ptr(), list.len(), &mut out) })?;
        Ok(Reducer(out))
    }

    /// Comes before a forward pass whose backward is to reduce; where this and [`Reducer::before_backward`] are left
    /// out, gradients only gather.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn before_forward(&self) -> Result<(), TorchError> {
        // SAFETY: a live reducer.
        check(unsafe { yf_reducer_before_forward(self.0) })
    }

    /// Comes between that forward pass and its backward.
    ///
    /// # Errors
    /// When the pass before did not reach every parameter.
    pub fn before_backward(&self) -> Result<(), TorchError> {
        // SAFETY: a live reducer.
        check(unsafe { yf_reducer_before_backward(self.0) })
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: made by yf_reducer_new, freed once.
        unsafe { yf_reducer_free(self.0) }
    }
}

/// Batch normalisation of `x` `[N, C, H, W]` with the statistics of all ranks' pictures; `params` are weight, bias,
/// running mean and running variance, each `[C]`. Forward and backward each send one message.
///
/// # Errors
/// When a rank is gone.
pub fn sync_batch_norm(
    group: &Group,
    x: &Tensor,
    params: [&Tensor; 4],
    eps: f64,
    momentum: f64,
) -> Result<Tensor, TorchError> {
    let [weight, bias, mean, var] = params.map(handle);
    let mut out = std::ptr::null_mut();
    // SAFETY: a group that is never freed (backward uses it), live tensors; `out` receives a new tensor.
    check(unsafe {
        yf_sync_batch_norm(group.0.group, handle(x), weight, bias, mean, var, eps, momentum, &mut out)
    })?;
    Ok(own(out))
}
