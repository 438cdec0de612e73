//! What a launcher tells a rank through its environment: torchrun's contract, which `yf train --ddp` keeps too.

use yf_plan::ranks;

use crate::Error;

/// A rank's place among the others, and where they meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Number of this rank.
    pub rank: usize,
    /// Ranks in all, at least two.
    pub size: usize,
    /// Number of this rank on its host.
    pub local_rank: usize,
    /// Ranks of its host; 1 where that is not told.
    pub local_size: usize,
    /// Host of the store.
    pub host: String,
    /// Port of the store.
    pub port: u16,
    /// Whether this rank serves the store.
    pub serves: bool,
    /// A socket on which the store is to be served, opened by the launcher.
    pub socket: Option<i32>,
    /// How often the launcher has started the ranks anew.
    pub attempt: usize,
    /// How often the launcher has halved the batch.
    pub halvings: usize,
}

impl Environment {
    /// Reads what `variable` finds. `None` where nothing says that there are others.
    ///
    /// # Errors
    /// A variable that is missing or no such number.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        if given(ranks::RANK).is_none() && given(ranks::SIZE).is_none() {
            return Ok(None);
        }
        let needed = |name: &str| given(name).ok_or_else(|| wrong(format!("{name} is not set")));
        let read = |name: &str, value: String| {
            value.parse::<usize>().map_err(|_| wrong(format!("{name} is '{value}', which is no number")))
        };
        let number = |name: &str| needed(name).and_then(|value| read(name, value));
        let or = |name: &str, default: usize| given(name).map_or(Ok(default), |value| read(name, value));
        let (rank, size) = (number(ranks::RANK)?, number(ranks::SIZE)?);
        if rank >= size {
            return Err(wrong(format!("{} is {rank} of only {size}", ranks::RANK)));
        }
        if size == 1 {
            return Ok(None);
        }
        let (host, port) = (needed(ranks::HOST)?, number(ranks::PORT)?);
        let agent_serves = given("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        Ok(Some(Environment {
            rank,
            size,
            local_rank: or(ranks::LOCAL_RANK, rank)?,
            local_size: or(ranks::LOCAL_SIZE, if is_loopback(&host) { size } else { 1 })?,
            host,
            port: u16::try_from(port).map_err(|_| wrong(format!("{} is {port}", ranks::PORT)))?,
            serves: rank == 0 && !agent_serves,
            socket: given(ranks::SOCKET)
                .map(|value| read(ranks::SOCKET, value))
                .transpose()?
                .map(|n| n as i32),
            attempt: or("TORCHELASTIC_RESTART_COUNT", 0)?,
            halvings: or(ranks::HALVINGS, 0)?,
        }))
    }
}

/// Whether only ranks of one host can meet there.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host == "::1"
}

fn wrong(why: String) -> Error {
    Error::Environment(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Environment>, Error> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Environment::read(&find)
    }

    const TORCHRUN: [(&str, &str); 8] = [
        ("RANK", "5"),
        ("WORLD_SIZE", "8"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "4"),
        ("MASTER_ADDR", "node-a"),
        ("MASTER_PORT", "29500"),
        ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ("TORCHELASTIC_RESTART_COUNT", "2"),
    ];

    #[test]
    fn reads_what_torchrun_says() {
        let place = read(&TORCHRUN).unwrap().unwrap();
        assert_eq!((place.rank, place.size, place.local_rank, place.local_size), (5, 8, 1, 4));
        assert_eq!((place.host.as_str(), place.port, place.attempt), ("node-a", 29500, 2));
        let first = |agent: &'static str| {
            let mut variables = TORCHRUN;
            (variables[0].1, variables[6].1) = ("0", agent);
            read(&variables).unwrap().unwrap().serves
        };
        assert!(first("False") && !first("True"), "the agent's store has a server");
    }

    #[test]
    fn one_rank_is_alone() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        let said = |variables: &[(&str, &str)]| read(variables).unwrap_err().to_string();
        assert!(said(&TORCHRUN[..1]).contains("WORLD_SIZE is not set"));
        assert!(said(&TORCHRUN[..5]).contains("MASTER_PORT is not set"));
        assert!(said(&[("RANK", "one"), ("WORLD_SIZE", "2")]).contains("RANK is 'one'"));
        assert!(said(&[("RANK", "2"), ("WORLD_SIZE", "2")]).contains("RANK is 2 of only 2"));
    }
}
