# All that the gateway needs where the operator makes the keys (vault write -f transit/keys/barnabas-NAME).
path "transit/encrypt/barnabas-*" { capabilities = ["update"] }
path "transit/decrypt/barnabas-*" { capabilities = ["update"] }
path "transit/keys/barnabas-*"    { capabilities = ["read"] }

# Its own token: whether it is taken still, and a longer life for it.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
