//! How large a checkpoint may be. What a file claims is checked before memory is taken for it.

use crate::Fault;

/// How large a checkpoint may be, part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most members of the zip archive.
    pub max_members: usize,
    /// Most bytes of the pickle in it.
    pub max_pickle_bytes: u64,
    /// Most values the pickle may build, entries of lists and dictionaries counted as well; also the most that
    /// its stack and its memo may hold.
    pub max_values: usize,
    /// Most bytes of the tensors that are taken, in single precision.
    pub max_tensor_bytes: u64,
    /// Most modules on the way from a network to a tensor.
    pub max_depth: usize,
}

impl Default for Limits {
    /// 65,536 members, a pickle of 64 MiB, two million values, tensors of 4 GiB, 64 modules deep.
    fn default() -> Self {
        Limits {
            max_members: 1 << 16,
            max_pickle_bytes: 64 << 20,
            max_values: 2_000_000,
            max_tensor_bytes: 4 << 30,
            max_depth: 64,
        }
    }
}

/// A count that may not pass its limit.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    limit: u64,
    of: &'static str,
}

impl Budget {
    /// A budget of `limit`; `of` is what a message calls it, e.g. "values".
    pub fn new(limit: u64, of: &'static str) -> Self {
        Budget { left: limit, limit, of }
    }

    /// Takes from the budget.
    pub fn spend(&mut self, amount: u64) -> Result<(), Fault> {
        self.left = self
            .left
            .checked_sub(amount)
            .ok_or_else(|| Fault::TooLarge { what: self.of.to_owned(), limit: self.limit })?;
        Ok(())
    }
}
