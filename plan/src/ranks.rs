//! Names of the environment variables that tell a rank its place: torchrun's, and one of our own launcher.

/// Number of the rank among all.
pub const RANK: &str = "RANK";
/// Ranks in all.
pub const SIZE: &str = "WORLD_SIZE";
/// Number of the rank on its host.
pub const LOCAL_RANK: &str = "LOCAL_RANK";
/// Ranks of its host.
pub const LOCAL_SIZE: &str = "LOCAL_WORLD_SIZE";
/// Host of the store where the ranks meet.
pub const HOST: &str = "MASTER_ADDR";
/// Port of the store.
pub const PORT: &str = "MASTER_PORT";
/// A listening socket that rank 0 inherits and serves the store on, so that no other program can take the port.
pub const SOCKET: &str = "YF_STORE_SOCKET";

/// How often the launcher has halved the batch, because it did not fit.
pub const HALVINGS: &str = "YF_BATCH_HALVINGS";
/// Exit status of a rank whose memory ran out in its first epoch: with half the batch it may not (EX_TEMPFAIL of
/// sysexits.h).
pub const BATCH_TOO_LARGE: i32 = 75;

/// Whether this process was started as a rank other than the first.
pub fn is_follower() -> bool {
    std::env::var(RANK).is_ok_and(|rank| rank.trim() != "0" && !rank.trim().is_empty())
}
