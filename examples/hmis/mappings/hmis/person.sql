-- The people whom the organisation has enrolled. A client hangs on an organisation through enrolment and project.
-- Names and Social Security numbers are left out on purpose: a hashed export (HashStatus 4) holds the same constant
-- for everybody, and to match on it would merge strangers. PersonalID is what all organisations share.
WITH enrolled AS (
    SELECT DISTINCT enrollment.PersonalID AS personal_id
    FROM enrollment
    JOIN project ON project.ProjectID = enrollment.ProjectID
    WHERE project.OrganizationID = getvariable('organization_id')
      AND coalesce(enrollment.DateDeleted, '') = ''
)
SELECT
    client.PersonalID AS local_person_id,
    client.PersonalID AS shared_person_number,
    -- 1: the full date was given; an approximate one (2) would look exact.
    CASE WHEN client.DOBDataQuality = '1' THEN nullif(trim(client.DOB), '') END AS date_of_birth,
    CASE client.Sex WHEN '0' THEN 'female' WHEN '1' THEN 'male' ELSE 'unknown' END AS sex,
    CASE
        WHEN coalesce(client.RaceNone, '') <> '' THEN 'unknown'
        WHEN (client.AmIndAKNative = '1')::INTEGER + (client.Asian = '1')::INTEGER
           + (client.BlackAfAmerican = '1')::INTEGER + (client.HispanicLatinao = '1')::INTEGER
           + (client.MidEastNAfrican = '1')::INTEGER + (client.NativeHIPacific = '1')::INTEGER
           + (client.White = '1')::INTEGER > 1 THEN 'several'
        WHEN client.AmIndAKNative = '1' THEN 'american_indian_alaska_native'
        WHEN client.Asian = '1' THEN 'asian'
        WHEN client.BlackAfAmerican = '1' THEN 'black'
        WHEN client.HispanicLatinao = '1' THEN 'hispanic_latino'
        WHEN client.MidEastNAfrican = '1' THEN 'middle_eastern_north_african'
        WHEN client.NativeHIPacific = '1' THEN 'hawaiian_pacific_islander'
        WHEN client.White = '1' THEN 'white'
        ELSE 'unknown'
    END AS ethnic_group
FROM client
JOIN enrolled ON enrolled.personal_id = client.PersonalID
WHERE coalesce(client.DateDeleted, '') = ''
ORDER BY local_person_id
