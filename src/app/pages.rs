//! The pages of the gateway.

use crate::listen::Pages;

/// Pages.
pub struct Overview {}

impl Pages for Overview {
    fn page(&self, _: &httpd::Request) -> Option<httpd::Response> {
        None
    }
}
