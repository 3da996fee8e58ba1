//! Forebay: IoT site gateway.
