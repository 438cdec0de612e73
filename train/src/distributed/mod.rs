//! A run of several processes, one a GPU: its ranks.
//!
//! Every rank holds the whole network and sees its own part of every batch ([`Shard`]). Gradients are summed over all
//! ranks ([`World::reducer`], [`World::sum_all`]) of a loss that is divided by what all of them have seen, so that any
//! number of ranks takes the same steps. Ranks find one another as torchrun tells them to ([`Environment`]), watch one
//! another ([`heartbeat`]), and only rank 0 writes and speaks.

mod environment;
pub mod heartbeat;
mod shard;

use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tracing::{debug, info};
use yf_plan::TrainPlan;

use crate::Error;
use crate::torch::{self, Device, Group, Meeting, Reducer, Store, Tensor, TorchError};

pub use environment::Environment;
use heartbeat::Heartbeat;
pub use shard::Shard;

/// How long ranks of other hosts may take to start.
const TO_MEET: Duration = Duration::from_secs(600);
/// After so long a rank says whom it waits for.
const TO_WONDER: Duration = Duration::from_secs(5);
/// How long a rank may be busy with its own work while others wait for it.
const TO_ANSWER: Duration = Duration::from_secs(1800);
/// How long rank 0, which serves the store, waits for the others to be done with it.
const TO_LEAVE: Duration = Duration::from_secs(30);

/// All ranks of a run, as one of them sees them. Copies are the same world.
#[derive(Clone)]
pub struct World {
    shard: Shard,
    /// Ranks of this host.
    local_size: usize,
    device: Device,
    others: Option<Arc<Others>>,
}

struct Others {
    group: Group,
    store: Store,
    serves: bool,
    /// Whether `yf` started this rank and will stop it.
    launched: bool,
    /// How often it has halved the batch.
    halvings: usize,
}

/// Does a run's work as the rank that the environment says this process is, or alone. What goes wrong on one rank ends
/// all of them, with its cause.
///
/// # Errors
/// What the work reports, or what happened to another rank.
pub fn run(
    device: Option<&yf_plan::Device>,
    work: impl FnOnce(&World) -> Result<(), Error>,
) -> Result<(), Error> {
    let (world, heartbeat) = World::join(device)?;
    match catch_unwind(AssertUnwindSafe(|| work(&world))) {
        Ok(Ok(())) => world.leave(heartbeat),
        Ok(Err(error)) => {
            let error = world.explain(error);
            world.linger();
            Err(error)
        }
        Err(panic) => {
            world.tell("it failed in libtorch; its own last line says why");
            world.linger();
            resume_unwind(panic)
        }
    }
}

/// Says that this rank waits for the others, unless what is returned is dropped before long.
fn wonder(place: &Environment) -> Sender<()> {
    let (met, waiting) = bounded(0);
    let Environment { rank, size, host, port, .. } = place;
    let said =
        format!("rank {rank} of {size} waits for the others at {host}:{port} (MASTER_ADDR, MASTER_PORT)");
    std::thread::spawn(move || {
        if waiting.recv_timeout(TO_WONDER) == Err(RecvTimeoutError::Timeout) {
            info!("{said}");
        }
    });
    met
}

/// Ends the process without running C++ destructors, which do not expect threads that still use what they destroy.
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

impl World {
    /// A run of one process.
    pub fn alone(device: Device) -> Self {
        World { shard: Shard::WHOLE, local_size: 1, device, others: None }
    }

    /// Opens this rank's device and waits for the others.
    fn join(wanted: Option<&yf_plan::Device>) -> Result<(Self, Option<Heartbeat>), Error> {
        let Some(place) = Environment::read(&|name| std::env::var(name).ok())? else {
            return Ok((World::alone(torch::open_device(wanted)?), None));
        };
        let device = torch::open_device(Some(&device_of(wanted, &place)?))?;
        let prefix = format!("yf/{}", place.attempt);
        let meeting = Meeting {
            host: &place.host,
            port: place.port,
            serves: place.serves,
            listens_on: place.socket.filter(|_| place.serves),
            prefix: &prefix,
            timeout: TO_MEET,
        };
        let met = wonder(&place);
        let store = Store::connect(meeting)?;
        let second = Store::connect(Meeting { serves: false, listens_on: None, ..meeting })?;
        let ranks = (place.rank, place.size);
        let local = place.local_size == place.size;
        let address = (local.then_some("127.0.0.1"), std::env::var("GLOO_SOCKET_IFNAME").ok());
        let group = Group::join(&store, ranks, (address.0, address.1.as_deref()), device, TO_ANSWER)?;
        drop(met);
        debug!("rank {} of {} on {device:?}", place.rank, place.size);
        let heartbeat = Heartbeat::start(second, place.rank, place.size);
        let world = World {
            shard: Shard { rank: place.rank, size: place.size },
            local_size: place.local_size.max(1),
            device,
            others: Some(Arc::new(Others {
                group,
                store,
                serves: place.serves,
                launched: place.socket.is_some(),
                halvings: place.halvings,
            })),
        };
        Ok((world, Some(heartbeat)))
    }

    /// This rank's part.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Ranks in all.
    pub fn size(&self) -> usize {
        self.shard.size
    }

    /// Ranks on this host.
    pub fn local_size(&self) -> usize {
        self.local_size
    }

    /// Whether this is the rank that writes and speaks.
    pub fn is_main(&self) -> bool {
        self.shard.rank == 0
    }

    /// Where this rank computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How often the launcher has halved the batch of all ranks, because it did not fit.
    pub fn halvings(&self) -> usize {
        self.others.as_ref().map_or(0, |others| others.halvings)
    }

    /// The process group, where there are others.
    pub fn group(&self) -> Option<&Group> {
        self.others.as_ref().map(|others| &others.group)
    }

    /// Replaces a tensor by its sum over all ranks. Nothing is read back: it can be recorded in a CUDA graph.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), TorchError> {
        self.group().map_or(Ok(()), |group| group.sum(tensor))
    }

    /// Replaces float tensors by their sums over all ranks, in one message.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn sum_all(&self, tensors: &[Tensor]) -> Result<(), TorchError> {
        self.group().map_or(Ok(()), |group| group.sum_all(tensors))
    }

    /// Replaces float tensors by those of rank 0.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<(), TorchError> {
        self.group().map_or(Ok(()), |group| group.broadcast(tensors))
    }

    /// What each rank hands in, by rank, on every rank.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, TorchError> {
        match self.group() {
            Some(group) => group.gather(&bytes),
            None => Ok(vec![bytes]),
        }
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn meet(&self) -> Result<(), TorchError> {
        self.gather(vec![]).map(drop)
    }

    /// Sums gradients over all ranks during backward; `None` where there are no others.
    ///
    /// # Errors
    /// When the ranks' parameters are not alike.
    pub fn reducer(&self, params: &[Tensor]) -> Result<Option<Reducer>, TorchError> {
        self.group().map(|group| Reducer::new(group, params)).transpose()
    }

    /// Makes sure that all ranks hold the same, to the last bit; `what` it is, for people.
    ///
    /// # Errors
    /// The first rank that holds something else than rank 0: a GPU that computes wrongly, or a mistake of ours.
    pub fn confirm(&self, tensors: &[Tensor], what: &str) -> Result<(), Error> {
        if self.group().is_none() {
            return Ok(());
        }
        let mut digest = DefaultHasher::new();
        for tensor in tensors {
            torch::to_array(tensor).data.iter().for_each(|x| digest.write_u32(x.to_bits()));
        }
        let digests = self.gather(digest.finish().to_le_bytes().to_vec())?;
        match digests.iter().position(|other| *other != digests[0]) {
            None => Ok(()),
            Some(rank) => Err(Error::Rank(format!("{what} of rank {rank} are no longer those of rank 0"))),
        }
    }

    /// The plan of all ranks: each one's own, with the folder of rank 0.
    ///
    /// # Errors
    /// When this rank was told something else than rank 0.
    pub fn agree(&self, plan: TrainPlan) -> Result<TrainPlan, Error> {
        let Some(others) = &self.others else { return Ok(plan) };
        let text = serde_json::to_vec(&plan).map_err(|e| Error::Other(e.to_string()))?;
        if self.is_main() {
            others.store.set("plan", &text)?;
            return Ok(plan);
        }
        let first: TrainPlan = serde_json::from_slice(&others.store.get("plan")?)
            .map_err(|e| Error::Other(format!("rank 0 is another version of yf: {e}")))?;
        // What may differ from host to host.
        let run = first.run.clone();
        let mine = TrainPlan {
            device: first.device.clone(),
            workers: first.workers,
            cache: first.cache,
            run: run.clone(),
            ..plan.clone()
        };
        if mine != first {
            return Err(Error::Other(
                "this rank was told another plan than rank 0: give all the same flags".to_owned(),
            ));
        }
        Ok(TrainPlan { run, ..plan })
    }

    /// Ends together: the store goes when nobody needs it any more.
    fn leave(self, heartbeat: Option<Heartbeat>) -> Result<(), Error> {
        self.meet()?;
        drop(heartbeat);
        let Some(others) = &self.others else { return Ok(()) };
        let mut left = others.store.add("left", 1)?;
        let since = Instant::now();
        while others.serves && left < self.size() as i64 && since.elapsed() < TO_LEAVE {
            std::thread::sleep(Duration::from_millis(20));
            left = others.store.add("left", 0)?;
        }
        Ok(())
    }

    /// Tells the other ranks why this one ends.
    fn tell(&self, why: &str) {
        if let Some(others) = &self.others {
            // Where the store is gone the others know already.
            let _ = heartbeat::tell(&others.store, &format!("rank {}: {why}", self.shard.rank));
        }
    }

    /// Serves the store until the others have read why the run ends. Where `yf` has started the ranks it stops them.
    fn linger(&self) {
        if self.others.as_ref().is_some_and(|others| others.serves && !others.launched) {
            std::thread::sleep(heartbeat::TO_READ);
        }
    }

    /// An error of this rank, or what it comes from: a rank that loses another one in the middle of a message waits
    /// until it is known what happened there.
    fn explain(&self, error: Error) -> Error {
        let Some(others) = &self.others else { return error };
        if !is_lost_rank(&error) {
            self.tell(&error.to_string());
            return error;
        }
        let since = Instant::now();
        while since.elapsed() < heartbeat::LIMIT + Duration::from_secs(5) {
            match heartbeat::told(&others.store) {
                Ok(Some(why)) => return Error::Rank(why),
                Err(gone) => return Error::Rank(heartbeat::store_gone(&gone)),
                Ok(None) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
        error
    }
}

/// Whether an error is that of a message which another rank did not answer.
fn is_lost_rank(error: &Error) -> bool {
    let text = error.to_string();
    ["closed by peer", "reset by peer", "gloo", "Gloo", "NCCL", "Broken pipe"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The device of a rank on its host: as told, or a GPU each where there are any.
fn device_of(wanted: Option<&yf_plan::Device>, place: &Environment) -> Result<yf_plan::Device, Error> {
    use yf_plan::Device::{Cpu, Cuda};
    let rank = place.local_rank;
    match wanted {
        Some(Cpu) => Ok(Cpu),
        Some(Cuda(indices)) if indices.len() > 1 => {
            indices.get(rank).map(|&i| Cuda(vec![i])).ok_or_else(|| {
                let (ranks, gpus) = (place.local_size, indices.len());
                Error::Environment(format!(
                    "{ranks} ranks on this host for the {gpus} GPUs of --device; each needs one"
                ))
            })
        }
        wanted => match (torch::gpus().unwrap_or(0), wanted) {
            (0, None) => Ok(Cpu),
            // The launcher lets each rank see its own GPU alone.
            (1, _) => Ok(Cuda(vec![0])),
            _ => Ok(Cuda(vec![rank])),
        },
    }
}
