//! CoAP server and a small client on coap-lite's codec.
