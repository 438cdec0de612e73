//! SGD with Nesterov momentum, or AdamW, over three groups of parameters.

use std::collections::BTreeMap;

use yf_models::graph::Role;
use yf_models::weights::Array;
use yf_plan::Optimizer as Kind;

use crate::schedule::Rates;
use crate::torch::{self, Parameters, Tensor, TorchError, no_grad};

/// Second moment's decay of AdamW.
const BETA2: f64 = 0.999;

/// Parameters that share a learning rate and a decay, with their state.
struct Group {
    names: Vec<String>,
    params: Vec<Tensor>,
    /// Momentum of SGD; first moment of AdamW.
    first: Vec<Tensor>,
    /// Second moment and step count; empty for SGD.
    second: Vec<Tensor>,
    steps: Vec<Tensor>,
    decay: f64,
}

/// The optimizer of a run. Groups are biases, weights (the only ones that decay), norm weights: the order of the
/// learning rates in [`Rates`] and in results.csv.
pub struct Optimizer {
    kind: Kind,
    groups: Vec<Group>,
    /// Learning rates of the groups, then the momentum, on the device: a recorded step reads them there.
    rates: Tensor,
    /// AdamW's beta1, which no schedule changes.
    beta1: f64,
}

impl Optimizer {
    /// An optimizer with fresh state over the trained parameters.
    pub fn new(kind: Kind, parameters: &Parameters, weight_decay: f64) -> Self {
        let group = |role: Role, decay: f64| {
            let members: Vec<_> = parameters.trained().filter(|(p, _)| p.role == role).collect();
            let zeros =
                || members.iter().map(|(_, t)| no_grad(|| t.zeros_like().detach())).collect::<Vec<_>>();
            let adam = kind == Kind::AdamW;
            Group {
                names: members.iter().map(|(p, _)| p.name.clone()).collect(),
                params: members.iter().map(|(_, t)| t.shallow_clone()).collect(),
                first: zeros(),
                second: if adam { zeros() } else { vec![] },
                steps: if adam {
                    members.iter().map(|(_, t)| Tensor::zeros([], (torch::Kind::Float, t.device()))).collect()
                } else {
                    vec![]
                },
                decay,
            }
        };
        let groups =
            vec![group(Role::Bias, 0.0), group(Role::Weight, weight_decay), group(Role::NormWeight, 0.0)];
        let device = parameters.tensors.first().map_or(torch::Device::Cpu, Tensor::device);
        let rates = Tensor::zeros([groups.len() as i64 + 1], (torch::Kind::Float, device));
        Optimizer { kind, groups, rates, beta1: 0.0 }
    }

    /// What the next steps are taken with.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn set_rates(&mut self, rates: &Rates) -> Result<(), TorchError> {
        let host = [rates.lr[0], rates.lr[1], rates.lr[2], rates.momentum].map(|rate| rate as f32);
        let sent = torch::upload(&Tensor::from_slice(&host), self.rates.device())?;
        self.rates.f_copy_(&sent)?;
        self.beta1 = rates.momentum;
        Ok(())
    }

    /// The gradients of all parameters, once backward has made them.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.groups.iter().flat_map(|g| &g.params).map(Tensor::grad).filter(Tensor::defined).collect()
    }

    /// One step with the rates of [`Optimizer::set_rates`]; nothing changes where `found_inf` (one float on the device)
    /// is 1.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn step(&self, found_inf: &Tensor) -> Result<(), TorchError> {
        let rate = |i: usize| no_grad(|| self.rates.f_select(0, i as i64));
        let momentum = rate(self.groups.len())?;
        for (at, group) in self.groups.iter().enumerate() {
            let lr = rate(at)?;
            let gradients: Vec<Tensor> = group.params.iter().map(Tensor::grad).collect();
            match self.kind {
                Kind::Sgd => {
                    torch::sgd(
                        &group.params,
                        &gradients,
                        &group.first,
                        (&lr, &momentum, group.decay),
                        found_inf,
                    )?;
                }
                Kind::AdamW => {
                    // As in PyTorch, a skipped step does not count.
                    let counted = no_grad(|| 1.0 - found_inf.squeeze());
                    torch::add_to_each(&group.steps, &counted)?;
                    let state = (&group.first[..], &group.second[..], &group.steps[..]);
                    torch::adamw(
                        &group.params,
                        &gradients,
                        state,
                        (&lr, self.beta1, BETA2, group.decay),
                        found_inf,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Its state by name, on the host, as a checkpoint keeps it.
    pub fn state(&self) -> BTreeMap<String, Array> {
        let named = |part: &'static str, tensors: &[Tensor], names: &[String]| {
            let entry =
                |(name, tensor): (&String, &Tensor)| (format!("{part}.{name}"), torch::to_array(tensor));
            names.iter().zip(tensors).map(entry).collect::<Vec<_>>()
        };
        let parts = self.groups.iter().flat_map(|g| {
            let mut all = named("first", &g.first, &g.names);
            all.extend(named("second", &g.second, &g.names));
            all.extend(named("steps", &g.steps, &g.names));
            all
        });
        parts.collect()
    }

    /// Takes over the state that a checkpoint kept.
    ///
    /// # Errors
    /// The name of the first tensor that is missing or of another shape.
    pub fn restore(&self, state: &BTreeMap<String, Array>) -> Result<(), String> {
        for group in &self.groups {
            for (part, tensors) in
                [("first", &group.first), ("second", &group.second), ("steps", &group.steps)]
            {
                for (name, tensor) in group.names.iter().zip(tensors) {
                    let key = format!("{part}.{name}");
                    let array = state.get(&key).ok_or_else(|| format!("the optimizer's {key} is missing"))?;
                    let shape: Vec<i64> = array.shape.iter().map(|&n| n as i64).collect();
                    if shape != tensor.size() {
                        return Err(format!(
                            "the optimizer's {key} has shape {shape:?}, not {:?}",
                            tensor.size()
                        ));
                    }
                    no_grad(|| tensor.shallow_clone().copy_(&torch::to_tensor(array)));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use yf_models::graph::{Init, Param};

    use super::*;
    use crate::torch::Device;

    /// One parameter of each role at 1, each with the gradient 2.
    fn parameters() -> Parameters {
        let declared = [Role::Bias, Role::Weight, Role::NormWeight].map(|role| Param {
            name: format!("{role:?}"),
            shape: vec![1],
            role,
            init: Init::Fill(1.0),
        });
        let tensors = declared.iter().map(|_| Tensor::ones([1], (torch::Kind::Float, Device::Cpu))).collect();
        let parameters = Parameters::new(declared.to_vec(), tensors);
        parameters.require_gradients();
        for tensor in &parameters.tensors {
            (tensor * 2.0).sum(torch::Kind::Float).backward();
        }
        parameters
    }

    fn values(parameters: &Parameters) -> Vec<f64> {
        parameters.tensors.iter().map(|t| t.double_value(&[0])).collect()
    }

    #[test]
    fn each_group_has_its_rate_and_only_weights_decay() {
        let parameters = parameters();
        let mut optimizer = Optimizer::new(Kind::Sgd, &parameters, 0.5);
        let rates = Rates { lr: [0.1, 0.01, 0.001], momentum: 0.9, accumulate: 1 };
        let fine = Tensor::zeros([1], (torch::Kind::Float, Device::Cpu));
        optimizer.set_rates(&rates).unwrap();
        optimizer.step(&fine).unwrap();
        // Nesterov's first step goes (1 + momentum) times the gradient, to which the decay adds .5 * 1.
        let expected = [1.0 - 0.1 * 1.9 * 2.0, 1.0 - 0.01 * 1.9 * 2.5, 1.0 - 0.001 * 1.9 * 2.0];
        for (value, expected) in values(&parameters).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value}, not {expected}");
        }
    }

    /// Momentum and learning rate change from step to step, as in a warm-up: the velocity is the textbook's.
    #[test]
    fn a_changing_momentum_is_followed() {
        let parameters = parameters();
        let mut optimizer = Optimizer::new(Kind::Sgd, &parameters, 0.0);
        let fine = Tensor::zeros([1], (torch::Kind::Float, Device::Cpu));
        let (mut value, mut velocity) = (1.0, 0.0);
        for (lr, momentum) in [(0.1, 0.8), (0.05, 0.85), (0.02, 0.937)] {
            optimizer.set_rates(&Rates { lr: [lr; 3], momentum, accumulate: 1 }).unwrap();
            optimizer.step(&fine).unwrap();
            velocity = momentum * velocity + 2.0;
            value -= lr * (2.0 + momentum * velocity);
            assert!((values(&parameters)[0] - value).abs() < 1e-6, "{} not {value}", values(&parameters)[0]);
        }
    }

    #[test]
    fn a_bad_step_changes_nothing() {
        for kind in [Kind::Sgd, Kind::AdamW] {
            let parameters = parameters();
            let mut optimizer = Optimizer::new(kind, &parameters, 0.5);
            let bad = Tensor::ones([1], (torch::Kind::Float, Device::Cpu));
            optimizer.set_rates(&Rates { lr: [0.1; 3], momentum: 0.9, accumulate: 1 }).unwrap();
            optimizer.step(&bad).unwrap();
            assert_eq!(values(&parameters), [1.0; 3], "{kind:?}");
            assert!(optimizer.state().iter().all(|(_, state)| state.data == [0.0]), "{kind:?}");
        }
    }
}
