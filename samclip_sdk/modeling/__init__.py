"""The merged model in torch (extra ``[torch]``); `config` alone needs no torch."""
