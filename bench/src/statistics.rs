//! What is said of a row of measurements: its median and its spread.

use serde::Serialize;

/// Five numbers for a row of measurements; their unit is that of the row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) minimum: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) maximum: f64,
}

impl Summary {
    /// Of a row that is not empty; quartiles between two measurements are interpolated.
    pub(crate) fn of(row: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut row: Vec<f64> = row.into_iter().collect();
        row.sort_by(f64::total_cmp);
        let &maximum = row.last()?;
        Some(Self {
            minimum: quantile(&row, 0, 4),
            lower_quartile: quantile(&row, 1, 4),
            median: quantile(&row, 2, 4),
            upper_quartile: quantile(&row, 3, 4),
            maximum,
        })
    }
}

/// The value below which `part` of `whole` of a sorted row lie (Hyndman and Fan's definition 7,
/// which is what R and NumPy take).
fn quantile(sorted: &[f64], part: usize, whole: usize) -> f64 {
    let position = (sorted.len() - 1) * part;
    let (below, between) = (position / whole, position % whole);
    let above = sorted.get(below + 1).unwrap_or(&sorted[below]);
    sorted[below] + (above - sorted[below]) * fraction(between, whole)
}

/// Where the median of what a row was drawn from lies, with a confidence of 95 % at least: the
/// sign test turned round, which asks nothing of the distribution. `None` of a row too short
/// to say.
pub(crate) fn median_interval(row: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut row: Vec<f64> = row.into_iter().collect();
    row.sort_by(f64::total_cmp);
    let length = i32::try_from(row.len()).ok()?;
    // Of a fair coin's throws: how often so few are heads, or fewer.
    let (mut exactly, mut at_most) = (0.5_f64.powi(length), 0.0);
    let mut cut = None;
    for heads in 0..length / 2 {
        at_most += exactly;
        if at_most * 2.0 > 0.05 {
            break;
        }
        cut = usize::try_from(heads).ok();
        exactly *= f64::from(length - heads) / f64::from(heads + 1);
    }
    let cut = cut?;
    Some((row[cut], row[row.len() - 1 - cut]))
}

/// `part` of `whole`, 0 where there is nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of measurements, far below 2^52"
)]
pub(crate) fn fraction(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small integers and halves are exact")]
mod tests {
    use super::*;

    #[test]
    fn an_odd_row_has_its_middle_for_median() {
        let summary = Summary::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(summary.minimum, 1.0);
        assert_eq!(summary.lower_quartile, 2.0);
        assert_eq!(summary.median, 3.0);
        assert_eq!(summary.upper_quartile, 4.0);
        assert_eq!(summary.maximum, 5.0);
    }

    #[test]
    fn quantiles_between_two_measurements_are_interpolated() {
        let summary = Summary::of([1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(summary.lower_quartile, 1.75);
        assert_eq!(summary.median, 2.5);
        assert_eq!(summary.upper_quartile, 3.25);
    }

    #[test]
    fn one_measurement_is_all_of_them() {
        let summary = Summary::of([-7.0]).unwrap();
        assert_eq!(
            (summary.minimum, summary.median, summary.maximum),
            (-7.0, -7.0, -7.0)
        );
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        let summary = Summary::of([1.0, 1.0, 1.0, 1.0, 1e9]).unwrap();
        assert_eq!((summary.median, summary.upper_quartile), (1.0, 1.0));
    }

    #[test]
    fn the_median_of_twenty_is_between_the_sixth_and_the_sixth_from_the_end() {
        let row = (1..=20).map(f64::from);
        assert_eq!(median_interval(row.rev()), Some((6.0, 15.0)));
    }

    #[test]
    fn six_differences_of_one_sign_are_the_least_that_say_something() {
        assert_eq!(median_interval((1..=5).map(f64::from)), None);
        assert_eq!(median_interval((1..=6).map(f64::from)), Some((1.0, 6.0)));
        assert_eq!(median_interval([]), None);
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(fraction(0, 0), 0.0);
    }
}
