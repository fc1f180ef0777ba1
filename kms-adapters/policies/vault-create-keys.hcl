# In addition to vault.hcl, where the gateway enrols clients and makes their keys. With no other parameters than these, a key can be
# made; it cannot be made exportable, be allowed to be deleted, or lose old versions.
path "transit/keys/barnabas-*" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "type" = ["aes256-gcm96"], "derived" = [] }
}
