vault {
  address = "https://vault.vault.svc:8200"
}

auto_auth {
  method "kubernetes" {
    mount_path = "auth/kubernetes"
    config = {
      role       = "spapi-sidecar"
      token_path = "/var/run/secrets/spapi-sidecar/token"
    }
  }

  sink "file" {
    config = {
      path = "/run/vault/token"
      mode = 0440
    }
  }
}
