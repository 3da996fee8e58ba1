//! MQTT server connection and a small client on rumqttd's codec.
