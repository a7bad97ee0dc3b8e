-- What analysts see: schema `analytics`, views only. Made anew by every `cogenre catalog migrate`.

create schema analytics;
comment on schema analytics is 'The catalog for analysts: stable views over the current labels.';

create view analytics.track_label as
select t.id as track_id, t.title, t.artist, t.album, t.isrc, t.language,
       g.slug as genre, g.name as genre_name, l.score,
       m.name as model, m.version as model_version, c.lyrics, c.classified_at
from public.track_current cur
join public.track t on t.id = cur.track_id
join public.classification c on c.id = cur.classification_id
join public.model m on m.id = c.model_id
join public.track_genre l on l.classification_id = c.id
join public.genre g on g.id = l.genre_id;
comment on view analytics.track_label is 'One row for each accepted genre of each track, by the current model.';

create view analytics.genre_pair as
select a.slug as genre_a, b.slug as genre_b, count(*) as tracks
from public.track_current cur
join public.track_genre la on la.classification_id = cur.classification_id
join public.track_genre lb on lb.classification_id = cur.classification_id and lb.genre_id <> la.genre_id
join public.genre a on a.id = la.genre_id
join public.genre b on b.id = lb.genre_id
where a.slug < b.slug
group by a.slug, b.slug;
comment on view analytics.genre_pair is 'How many tracks carry both genres.';

create view analytics.failure as
select f.id, f.track_id, f.stage, f.error_class, f.reason, f.failed_at
from public.ingest_failure f
where f.resolved_at is null;
comment on view analytics.failure is 'Jobs that ended without labels and have not been mended.';
