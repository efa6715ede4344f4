"""The merged model in torch (extra `[torch]`); only `config` does not need torch."""
