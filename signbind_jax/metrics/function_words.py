"""Our own list of English function words, the default of reduced BLEU."""

# Written for this project; the list published with the How2Sign baseline is not copied here.
_TEXT = """
a an the this that these those some any each every all both either neither no none another
such much many more most few less least several enough own same
i me my mine myself you your yours yourself yourselves he him his himself she her hers
herself it its itself we us our ours ourselves they them their theirs themselves one ones
who whom whose which what whatever where when why how
somebody someone something anybody anyone anything everybody everyone everything nobody
nothing
am is are was were be been being do does did doing done have has had having
can could may might must shall should will would ought
get gets got getting go goes going gone went come comes came make makes made take takes took
put puts want wants wanted need needs let lets use used using
not never ever yes okay ok oh well please just only even also too very really quite rather
so then than thus therefore however still yet already again almost always often sometimes
usually maybe perhaps now here there today back away out off up down over under
about above across after against along among around as at before behind below beneath beside
between beyond but by despite during except for from if in inside into like near of on onto
or outside since through throughout till to toward towards unless until upon via while with
within without and because although though whether nor per
i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd
it'll we're we've we'd we'll they're they've they'd they'll that's that'll there's here's
what's who's where's how's let's isn't aren't wasn't weren't don't doesn't didn't haven't
hasn't hadn't can't cannot couldn't won't wouldn't shouldn't mustn't ain't gonna wanna gotta
kind kinds sort lot lots bit little thing things way ways
"""
FUNCTION_WORDS = frozenset(_TEXT.split())
