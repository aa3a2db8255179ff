// The jobs, as code (plugin Job DSL). Their Jenkinsfiles declare parameters, triggers and options too; declared here as
// well, they are there before the first build, and still there when the controller has read this file at its start.
Closure fromRepository = { String file ->
    return {
        cpsScm {
            lightweight true
            scriptPath file
            scm {
                git {
                    remote { url REPOSITORY_URL }
                    branch 'main'
                    extensions { }
                }
            }
        }
    }
}

Closure keep = { String builds, String artifacts ->
    return {
        strategy {
            logRotator {
                daysToKeepStr('')
                numToKeepStr(builds)
                artifactDaysToKeepStr('')
                artifactNumToKeepStr(artifacts)
            }
        }
    }
}

List<String> channels = ['production', 'staging']

pipelineJob('ml') {
    description('From raw data to a model in production: lint, data, train, quality, deploy. ' +
                'Starts on a push, by the job nightly, and by hand with Build with Parameters.')
    parameters {
        stringParam('PROJECT', 'titanic', 'What to build: a folder in ml/projects.')
        booleanParam('FORCE', false, 'Train though nothing changed, and deploy a version that was taken back before.')
        choiceParam('CHANNEL', channels,
                    'Where a model that passes every gate is brought; its champion is the one to beat.')
        stringParam('TARGET', 'local',
                    'Where it is served: local, compose or ssh://user@host (ml/serving/README.md: Where).')
        stringParam('WHY', '', 'A reason to remember, kept in the history of the channel.')
    }
    properties {
        disableConcurrentBuilds { abortPrevious(false) }
        buildDiscarder(keep('50', '20'))
        preserveStashes { buildCount(5) }
        pipelineTriggers {
            triggers {
                pollSCM { scmpoll_spec('H/15 * * * *') }
            }
        }
    }
    definition(fromRepository('Jenkinsfile'))
}

pipelineJob('nightly') {
    description('Continuous training: starts the job ml for every project, each night. A model replaces the champion ' +
                'only by winning.')
    parameters {
        stringParam('PIPELINE', 'ml',
                    'The job that builds one project; of a multibranch job name the branch too: ml/main.')
    }
    properties {
        disableConcurrentBuilds { abortPrevious(false) }
        buildDiscarder(keep('50', ''))
        pipelineTriggers {
            triggers {
                cron { spec('H 2 * * *') }
            }
        }
    }
    definition(fromRepository('jenkins/nightly.Jenkinsfile'))
}

pipelineJob('rollback') {
    description('Takes a channel back to an earlier version at once, without waiting for a build that is running.')
    parameters {
        stringParam('PROJECT', 'titanic', 'A folder in ml/projects.')
        choiceParam('CHANNEL', channels, 'The channel to take back.')
        stringParam('ROLLBACK_TO', 'previous', 'The number of a version, or "previous" for the one before.')
        stringParam('TARGET', 'local',
                    'Where it is served: local, compose or ssh://user@host (ml/serving/README.md: Where).')
        stringParam('WHY', '', 'A reason to remember, kept in the history of the channel.')
    }
    properties {
        buildDiscarder(keep('50', ''))
    }
    definition(fromRepository('jenkins/rollback.Jenkinsfile'))
}

listView('Models') {
    description('Build, retrain and roll back the models of this repository.')
    jobs { names('ml', 'nightly', 'rollback') }
    columns {
        status()
        weather()
        name()
        lastSuccess()
        lastFailure()
        lastDuration()
        buildButton()
    }
}
