"""How the embedded segmenter learnt."""
