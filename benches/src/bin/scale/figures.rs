//! Figures with their bounds: a table for each part, and a sentence for each bound that was missed.

/// What was measured so far.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<[String; 3]>,
    missed: Vec<String>,
}

/// The most that a figure may be, with its unit.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The figure must not be above.
    pub most: f64,
    /// Of the figure and of the bound.
    pub unit: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

// === impl Figures ===

impl Figures {
    /// A figure without a bound.
    pub fn note(&mut self, name: impl Into<String>, figure: impl Into<String>) {
        self.rows.push([name.into(), figure.into(), String::new()]);
    }

    /// A figure with a bound.
    pub fn bounded(&mut self, name: &str, figure: f64, bound: Bound) {
        let Bound { most, unit, digits } = bound;
        let text = |value: f64| format!("{value:.digits$} {unit}").trim_end().to_owned();
        self.judged(name, text(figure), &format!("<= {}", text(most)), figure <= most);
    }

    /// Something that must be so.
    pub fn judged(&mut self, name: &str, figure: impl Into<String>, bound: &str, kept: bool) {
        let figure = figure.into();
        if !kept {
            self.missed.push(format!("{name}: {figure}, bound {bound}"));
        }
        let verdict = if kept { "kept" } else { "MISSED" };
        self.rows.push([name.to_owned(), figure, format!("{bound} {verdict}")]);
    }

    /// Prints what came since the last time.
    pub fn print(&mut self, title: &str) {
        println!("\n{title}\n");
        print!("{}", testkit::table(["FIGURE", "MEASURED", "BOUND"], &self.rows));
        self.rows.clear();
    }

    /// The sentences about bounds that were missed.
    pub fn missed(self) -> Vec<String> {
        self.missed
    }
}

/// The value below which `share` of them are; nothing is 0.
pub fn percentile(values: &[u64], share: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}

/// Milliseconds of a figure in us.
pub fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1e3)
}

/// Megabytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=200).rev().collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&values, share)), [100, 198, 200]);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn a_missed_bound_is_said_with_both_figures() {
        let mut figures = Figures::default();
        figures.bounded("kept", 4.0, Bound { most: 5.0, unit: "s", digits: 1 });
        figures.bounded("not kept", 5.1, Bound { most: 5.0, unit: "s", digits: 1 });
        assert_eq!(figures.missed(), ["not kept: 5.1 s, bound <= 5.0 s"]);
    }
}
