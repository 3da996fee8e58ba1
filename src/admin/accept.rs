//! Which of the two metrics formats a scraper prefers: the `Accept` header, as far as it matters here.
//!
//! Source: RFC 9110 §12.5.1; what Prometheus sends is `application/openmetrics-text;version=1.0.0;q=0.6,…`.

/// Media type of the Prometheus text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Media type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether `accept` names OpenMetrics, with at least the weight of plain text.
pub fn prefers_openmetrics(accept: &str) -> bool {
    let weight_of = |wanted: &str| {
        let ranges = accept.split(',').filter_map(range);
        ranges
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, weight)| weight)
            .fold(0.0, f64::max)
    };
    let openmetrics = weight_of("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= weight_of("text/plain")
}

/// Name and weight of a media range; `None` where the weight is no number.
fn range(text: &str) -> Option<(&str, f64)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?;
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    Some((name, weight.map_or(Ok(1.0), str::parse).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavier_format_wins() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/html,*/*;q=0.8", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                true,
            ),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.3", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=lots", false),
        ] {
            assert_eq!(prefers_openmetrics(accept), expected, "{accept:?}");
        }
    }
}
