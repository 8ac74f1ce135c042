-- Times that somebody was seen or served: supportive services (144), nights in a shelter (200), and contacts where a
-- person lives, which are in person by nature. Financial help (151, 152) is money and no contact.
WITH met AS (
    SELECT
        'S' || ServicesID AS contact_number,
        EnrollmentID AS enrollment_id,
        PersonalID AS local_person_id,
        DateProvided AS contacted_on,
        CASE RecordType WHEN '200' THEN 'in_person' ELSE 'unknown' END AS channel
    FROM services
    WHERE RecordType IN ('141', '142', '143', '144', '200') AND coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT 'L' || CurrentLivingSitID, EnrollmentID, PersonalID, InformationDate, 'in_person'
    FROM currentlivingsituation
    WHERE coalesce(DateDeleted, '') = ''
)
SELECT
    met.contact_number,
    met.local_person_id,
    CASE project.ProjectType
        WHEN '0' THEN 'emergency_shelter'
        WHEN '1' THEN 'night_shelter'
        WHEN '2' THEN 'transitional_housing'
        WHEN '3' THEN 'permanent_supportive_housing'
        WHEN '4' THEN 'street_outreach'
        WHEN '6' THEN 'services_only'
        WHEN '8' THEN 'safe_haven'
        WHEN '9' THEN 'permanent_housing'
        WHEN '10' THEN 'permanent_housing_with_services'
        WHEN '11' THEN 'day_shelter'
        WHEN '12' THEN 'homelessness_prevention'
        WHEN '13' THEN 'rapid_rehousing'
        WHEN '14' THEN 'coordinated_entry'
        ELSE 'other'
    END AS programme,
    met.contacted_on,
    met.channel
FROM met
JOIN enrollment ON enrollment.EnrollmentID = met.enrollment_id AND coalesce(enrollment.DateDeleted, '') = ''
JOIN project ON project.ProjectID = enrollment.ProjectID
WHERE project.OrganizationID = getvariable('organization_id')
ORDER BY met.contact_number
