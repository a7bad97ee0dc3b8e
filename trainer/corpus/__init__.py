"""The synthetic corpus: labelled tracks whose audio, lyrics and genre co-occurrence are generated.

It shows what a model does with structure that is known, and it needs nobody's permission. A score on it says
nothing about real music.

Which modality tells a genre. Genres in one row sound alike (one recipe); genres in one column sing alike
(one theme). A genre alone in its row is told by its sound, alone in its column by its words; country, funk,
pop and punk rock are alone in neither, and only sound and words together tell them.

| sound \\ words | nature | road | street | club | machines | heartache | darkness | protest | dreams |
|---|---|---|---|---|---|---|---|---|---|
| acoustic | folk | country | | | | | | | |
| band | | rock | | | | | | | |
| breakbeat | | | hip-hop | funk | | | | | |
| sequencer | | | | techno | | | | | |
| disco | | | | house | | | | | |
| synthesiser | | | | | electronic | pop | | | |
| combo | | | | | | jazz | | | |
| shuffle | | | | | | blues | | | |
| heavy | | | | | | | metal | punk-rock | |
| offbeat | | | | | | | | reggae | |
| orchestra | | | | | | | | | classical |
| drone | | | | | | | | | ambient |

So techno and house are told apart by sound only, as are jazz and blues; folk and country by words only, as
are metal and punk rock, and electronic and pop. Tracks of several genres take the drums of one and the
chords of another, and mix their words; a track without lyrics leaves the pairs of a row open, but for what
its other genres and the table of label sets say.

A corpus may have crossed tracks. There a pair of genres that shares a sound swaps its words under a second
sound, and a pair that shares words swaps its sounds under a second theme: see `crossing`.
"""
