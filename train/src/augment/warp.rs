//! Sampling: the packed buffer becomes the planes of the output, on the device.

use crate::torch::{Device, Kind, Tensor, TorchError, upload};

use super::pack::{Packed, Part};

/// Samples the packed pictures bilinearly: f32 [B, 4, S, S], channels R, G, B, infrared, 0..1.
///
/// Four gathers of 32-bit words bring the four neighbours with all their channels; no shape depends on the
/// content, and nothing is read back.
pub(super) fn warp(packed: &Packed, device: Device) -> Result<Tensor, TorchError> {
    let buffer = sent(&packed.words, device)?;
    let (batch, size) = (packed.batch as i64, packed.size as i64);
    let part = |part: Part| {
        let range = packed.range(part);
        buffer.f_narrow(0, range.start as i64, range.len() as i64)
    };
    let pixels = part(Part::Pixels)?;
    let line = part(Part::Line)?;
    let right = part(Part::Right)?.f_to_kind(Kind::Bool)?.f_view([batch, 1, size])?;

    let columns =
        |p: Part| part(p)?.f_view([2 * batch, size])?.f_index_select(0, &line)?.f_view([batch, size, size]);
    let halves = |table: Tensor| -> Result<[Tensor; 2], TorchError> {
        let table = table.f_view([batch, 2, size, 1])?;
        Ok([table.f_select(1, 0)?, table.f_select(1, 1)?])
    };
    let rows = |p: Part| -> Result<Tensor, TorchError> {
        let [left_half, right_half] = halves(part(p)?)?;
        Ok(right_half.f_where_self(&right, &left_half)?)
    };
    let column = [columns(Part::Column0)?, columns(Part::Column1)?];
    let row = [rows(Part::Row0)?, rows(Part::Row1)?];

    // [B, S, 4 S]: each pixel's four channels side by side.
    let channels = |row: &Tensor, column: &Tensor| {
        let word = row.f_add(column)?.f_clamp_min_(0)?.f_view([-1])?;
        pixels.f_index_select(0, &word)?.f_view_dtype(Kind::Uint8)?.f_to_kind(Kind::Float)?.f_view([
            batch,
            size,
            4 * size,
        ])
    };
    let fourfold = |table: &Tensor, shape: &[i64]| {
        table.f_unsqueeze(-1)?.f_expand([table.size(), vec![4]].concat(), false)?.f_reshape(shape)
    };
    let across = fourfold(
        &part(Part::ColumnWeight)?.f_view_dtype(Kind::Float)?.f_view([2 * batch, size])?,
        &[2 * batch, 4 * size],
    )?
    .f_index_select(0, &line)?
    .f_view([batch, size, 4 * size])?;
    let mut upper = channels(&row[0], &column[0])?;
    let _ = upper.f_lerp_tensor_(&channels(&row[0], &column[1])?, &across)?;
    let mut lower = channels(&row[1], &column[0])?;
    let _ = lower.f_lerp_tensor_(&channels(&row[1], &column[1])?, &across)?;

    let [left_half, right_half] = halves(part(Part::RowWeight)?.f_view_dtype(Kind::Float)?)?;
    let right = fourfold(&right, &[batch, 1, 4 * size])?;
    let down = right_half.f_where_self(&right, &left_half)?;
    let _ = upper.f_lerp_tensor_(&lower, &down)?;

    let planes = upper.f_view([batch, size, size, 4])?.f_permute([0, 3, 1, 2])?.f_contiguous()?;
    Ok(planes.f_div_scalar(255.0)?)
}

/// One copy to the device.
fn sent(words: &[i32], device: Device) -> Result<Tensor, TorchError> {
    upload(&Tensor::f_from_slice(words)?, device)
}
