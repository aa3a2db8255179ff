// What each push makes anew (plugin Job DSL): a job for each project, and those that know all projects. PROJECTS has a
// line for each: its name, its channels, its title. This runs outside of the sandbox, so the controller runs it only as
// jobs.groovy approved it; what a push makes of it waits for an administrator.
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
List<List<String>> projects = PROJECTS.readLines().collect { line -> line.split(/\s+/, 3) as List<String> }
// The first is what a push and the night take: hosts, where there are some.
List<String> targets = TARGETS.tokenize() + ['local', 'compose']
String why = 'A reason to remember, kept in the history of the channel.'
String where = 'Where it is served (ml/serving/README.md: Where).'

projects.each { List<String> project ->
    pipelineJob("models/${project.first()}") {
        description("${project[2].replace('&', '&amp;').replace('<', '&lt;')}<br>" +
                    "<img src=\"lastSuccessfulBuild/artifact/build/${project.first()}/history/trend.svg\" alt=\"\">")
        parameters {
            booleanParam('FORCE', false,
                         'Train though nothing changed, and deploy a version that was taken back before.')
            choiceParam('CHANNEL', project[1].tokenize(','),
                        'Where a model that passes every gate is brought; its champion is the one to beat.')
            choiceParam('TARGET', targets, where)
            stringParam('WHY', '', why)
        }
        properties {
            disableConcurrentBuilds { abortPrevious(false) }
            buildDiscarder(keep('50', '20'))
            preserveStashes { buildCount(5) }
        }
        definition(fromRepository('Jenkinsfile'))
    }
}

pipelineJob('nightly') {
    description('Continuous training: builds every project, each night. A model replaces the champion only by winning.')
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

pipelineJob('monitor') {
    description('Looks every hour at what production answered and what came true, and trains again where that helps.')
    properties {
        disableConcurrentBuilds { abortPrevious(false) }
        buildDiscarder(keep('200', '48'))
        pipelineTriggers {
            triggers {
                cron { spec('H * * * *') }
            }
        }
    }
    definition(fromRepository('jenkins/monitor.Jenkinsfile'))
}

pipelineJob('rollback') {
    description('Takes a channel back to an earlier version at once, without waiting for a build that is running.')
    parameters {
        choiceParam('PROJECT', projects*.first(), 'The project whose channel is taken back.')
        choiceParam('CHANNEL', projects*.get(1)*.tokenize(',').flatten().unique(), 'The channel to take back.')
        stringParam('ROLLBACK_TO', 'previous', 'The number of a version, or "previous" for the one before.')
        choiceParam('TARGET', targets, where)
        stringParam('WHY', '', why)
    }
    properties {
        buildDiscarder(keep('50', ''))
    }
    definition(fromRepository('jenkins/rollback.Jenkinsfile'))
}
