METHODS = {"causal": ()}
