//! The runtime inside this program: rten, pure Rust, CPU, nothing else needed on the machine.
//!
//! rten computes in float32 throughout: float16 weights are widened when the model is loaded, and casts to float16
//! change nothing. So an fp16 model runs as fast as its fp32 twin and differs from it by its rounded weights only.

use std::sync::Arc;

use rten::{NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

use super::batches::{self, Joined};
use super::{Backend, Options, Pixels};
use crate::DeployError;
use crate::model::{Model, ModelInfo};

/// A network in the embedded runtime.
pub struct Embedded {
    info: ModelInfo,
    network: Network,
    joined: Joined,
}

struct Network {
    model: rten::Model,
    inputs: Vec<NodeId>,
    output: NodeId,
    threads: Option<Arc<ThreadPool>>,
}

impl Embedded {
    /// Loads a model.
    ///
    /// # Errors
    /// [`DeployError::Runtime`] where rten does not take it, or would compute something else: its NonMaxSuppression
    /// suppresses across classes and pictures.
    pub fn new(model: Model, options: &Options) -> Result<Self, DeployError> {
        let Model { info, bytes } = model;
        if info.suppressed.is_some() {
            return Err(failed(
                &info,
                "has suppression inside (--nms), and this runtime's suppression mixes classes and pictures: export it \
                 without --nms, or install ONNX Runtime",
            ));
        }
        let network = Network::new(bytes, &info, options.threads).map_err(|why| failed(&info, why))?;
        Ok(Self { info, network, joined: Joined::default() })
    }
}

impl Network {
    fn new(bytes: Vec<u8>, info: &ModelInfo, threads: Option<usize>) -> Result<Self, String> {
        let model = rten::ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(bytes)
            .map_err(|e| e.to_string())?;
        let node = |name: &String| model.node_id(name).map_err(|e| e.to_string());
        let inputs = info.input_names.iter().map(node).collect::<Result<_, _>>()?;
        let output = node(&info.output_name)?;
        Ok(Self {
            inputs,
            output,
            threads: threads.map(|n| Arc::new(ThreadPool::with_num_threads(n))),
            model,
        })
    }

    fn run(&self, info: &ModelInfo, pictures: &[Pixels<'_>], batch: usize) -> Result<Vec<f32>, String> {
        let mut feed = Vec::with_capacity(pictures.len());
        for (index, (id, pixels)) in self.inputs.iter().zip(pictures).enumerate() {
            let shape = info.input_shape(index, batch);
            let value = match *pixels {
                Pixels::Floats(data) => NdTensorView::try_from_data(shape, data).map(ValueOrView::from),
                Pixels::Bytes(data) => NdTensorView::try_from_data(shape, data).map(ValueOrView::from),
            };
            feed.push((*id, value.map_err(|e| e.to_string())?));
        }
        let options = RunOptions::default().with_thread_pool(self.threads.clone());
        let mut out = self.model.run(feed, &[self.output], Some(options)).map_err(|e| e.to_string())?;
        let value = out.pop().ok_or("no output")?;
        let tensor: rten_tensor::Tensor<f32> = value.try_into().map_err(|_| "the output is not float32")?;
        let got = tensor.shape().to_vec();
        if tensor.len() != batch * info.output_len() {
            return Err(format!("the output has the shape {got:?}, not the one its file states"));
        }
        Ok(tensor.into_data())
    }
}

impl Backend for Embedded {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn describe(&self) -> String {
        "embedded runtime (rten, CPU)".to_owned()
    }

    fn run(&mut self, pairs: &[[Pixels<'_>; 2]]) -> Result<Vec<f32>, DeployError> {
        let Self { info, network, joined } = self;
        let all = |left| left;
        batches::run(info, pairs, all, |pairs, batch| {
            network.run(info, &joined.feeds(info, pairs, batch), batch).map_err(|why| failed(info, why))
        })
    }
}

fn failed(info: &ModelInfo, why: impl Into<String>) -> DeployError {
    DeployError::Runtime { origin: info.origin.clone(), backend: "embedded runtime", why: why.into() }
}
